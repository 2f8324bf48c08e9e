//! kill -9 at every step between a credential's claim and its delivery.
//!
//! Each step brings a payment to one exact point, kills the server there, starts it again and sends
//! the same credential: one debit and one answer, whatever the step.

use alloy::primitives::U256;
use farebox::db::Engine;
use farebox::devnet::{Devnet, Fault, Rule};
use farebox_test_support::db::{self, TestDb};
use farebox_test_support::process::{ServerProcess, Setup};
use farebox_test_support::sdk_agent::{CURRENCY, PaidAnswer, PaidRequest, SdkAgent};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use reqwest::StatusCode;
use tokio::net::TcpStream;

use crate::{
    assert_nothing_open, assert_settled, await_state, count, delay_next, faults_applied, send_until_verdict,
    state,
};

/// Point at which the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Claimed; the transaction is being simulated, nothing was sent.
    Simulating,
    /// Claimed; the block of a transaction that the agent pushed is being looked up.
    LookingUpPush,
    /// Broadcast; the chain never saw the transaction.
    Sending,
    /// Broadcast; mined, and the chain's answer was lost.
    Mined,
    /// [`Self::Mined`], and no client sends it again until recovery found it.
    MinedAndForgotten,
    /// Settled; the agent has not been sent its answer.
    Settled,
    /// Settled; the agent has its answer, and that is not recorded.
    Answered,
    /// Delivered.
    Delivered,
    /// Delivered to a request with an idempotency key.
    DeliveredUnderKey,
}

const STEPS: [Step; 9] = [
    Step::Simulating,
    Step::LookingUpPush,
    Step::Sending,
    Step::Mined,
    Step::MinedAndForgotten,
    Step::Settled,
    Step::Answered,
    Step::Delivered,
    Step::DeliveredUnderKey,
];

/// Steps at which a sponsored payment differs from any other.
const SPONSORED: [Step; 3] = [Step::Sending, Step::Mined, Step::Answered];

#[tokio::test(flavor = "multi_thread")]
async fn attack_30_kill_9_at_every_step_sqlite() {
    at_every_step(&db::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_30_kill_9_at_every_step_postgres() {
    if let Some(db) = db::postgres().await {
        at_every_step(&db).await;
    }
}

async fn at_every_step(db: &TestDb) {
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let mut server = setup.serve().await;
    for step in STEPS {
        println!("{step:?}");
        let mut request = PaidRequest::preview(&setup.origin(), &format!("Mail {step:?}@example.com"));
        request.idempotency_key = (step == Step::DeliveredUnderKey).then(|| "the-only-one".to_owned());
        server = die_at(step, &request, &devnet, db, &setup, server).await;
    }
    assert_nothing_open(db, &setup).await;
    server.kill().await;
    devnet.stop().await;
}

/// The sponsor pays each fee once, and what it set aside for it is given back once.
#[tokio::test(flavor = "multi_thread")]
async fn attack_30_kill_9_during_a_sponsored_payment() {
    let db = db::sqlite().await;
    let devnet = crate::devnet().await;
    let sponsor = &devnet.accounts()[3];
    let key = alloy::hex::encode_prefixed(sponsor.to_bytes());
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url).with("FAREBOX_SPONSOR_PRIVATE_KEY", key);
    let before = devnet.balance(CURRENCY, sponsor.address()).await.expect("a balance");
    let mut server = setup.serve().await;
    for step in SPONSORED {
        println!("{step:?}");
        let mut request = PaidRequest::preview(&setup.origin(), &format!("Mail {step:?}@example.com"));
        request.url.push_str("?feePayer=true");
        server = die_at(step, &request, &devnet, &db, &setup, server).await;
    }
    assert_nothing_open(&db, &setup).await;
    let fees = before - devnet.balance(CURRENCY, sponsor.address()).await.expect("a balance");
    let reserved = "SELECT reserved AS n FROM sponsor_days WHERE payer = $1";
    assert_eq!(U256::from(count(&db, reserved, "").await), fees, "the budget that is used up");
    server.kill().await;
    devnet.stop().await;
}

/// One payment through one death; returns the server that came after.
async fn die_at(
    step: Step,
    request: &PaidRequest,
    devnet: &Devnet,
    db: &TestDb,
    setup: &Setup,
    server: ServerProcess,
) -> ServerProcess {
    let agent = SdkAgent::funded(devnet).await;
    let challenge = agent.challenge(request).await.expect("a challenge");
    let credential = match step {
        Step::LookingUpPush => agent.push(&challenge).await,
        _ => agent.pull(&challenge).await,
    };
    let payment = Payment { devnet, db, agent: &agent, request, challenge: &challenge.id, credential };
    let sent_before = devnet.broadcasts();
    let first = payment.advance_to(step).await;
    server.kill().await;
    devnet.faults().clear();
    allow_delivery(db).await;
    let sent = devnet.broadcasts() - sent_before;
    let reaches_the_chain = !matches!(step, Step::Simulating | Step::LookingUpPush | Step::Sending);
    assert_eq!(sent, u64::from(reaches_the_chain), "{step:?}: broadcasts");

    let server = setup.serve().await;
    if step == Step::MinedAndForgotten {
        await_state(db, &challenge.id, "settled").await;
    }
    let again = send_until_verdict(&agent, request, &payment.credential).await;
    if step == Step::Delivered {
        assert_eq!(again.status, StatusCode::FORBIDDEN, "{}", again.body);
        assert!(again.challenges.is_empty(), "nobody is asked to pay twice");
    } else {
        assert_eq!(again.status, StatusCode::OK, "{step:?}: {}", again.body);
        assert!(again.receipt.is_some() && again.body.contains("<EMAIL_ADDRESS>"), "{}", again.body);
    }
    if let Some(first) = first.filter(|_| step != Step::Delivered) {
        assert_eq!((first.body, first.receipt), (again.body, again.receipt), "the same answer");
    }
    // Once it is delivered, the credential buys nothing more.
    await_state(db, &challenge.id, "delivered").await;
    let without_key = PaidRequest { idempotency_key: None, ..request.clone() };
    let spent = send_until_verdict(&agent, &without_key, &payment.credential).await;
    assert_eq!(spent.status, StatusCode::FORBIDDEN, "{step:?}: {}", spent.body);
    assert_settled(devnet, db, setup, &agent, 1).await;
    server
}

/// A payment on its way to the point where the server dies.
struct Payment<'a> {
    devnet: &'a Devnet,
    db: &'a TestDb,
    agent: &'a SdkAgent,
    request: &'a PaidRequest,
    challenge: &'a str,
    credential: String,
}

impl Payment<'_> {
    /// Advances the payment to a step; returns the answer where the agent got one.
    async fn advance_to(&self, step: Step) -> Option<PaidAnswer> {
        match step {
            Step::Simulating => {
                delay_next(self.devnet, "eth_call");
                self.send_and_await("claimed").await;
            }
            Step::LookingUpPush => {
                delay_next(self.devnet, "eth_getTransactionReceipt");
                self.send_and_await("claimed").await;
            }
            Step::Sending => {
                delay_next(self.devnet, "eth_sendRawTransactionSync");
                self.send_and_await("broadcast").await;
            }
            Step::Mined | Step::MinedAndForgotten => {
                self.devnet.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
                delay_next(self.devnet, "eth_getTransactionReceipt");
                self.send_and_await("broadcast").await;
            }
            Step::Settled => self.send_without_reading().await,
            Step::Answered => {
                refuse_delivery(self.db).await;
                let answer = send_until_verdict(self.agent, self.request, &self.credential).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                assert_eq!(state(self.db, self.challenge).await.as_deref(), Some("settled"));
                return Some(answer);
            }
            Step::Delivered | Step::DeliveredUnderKey => {
                let answer = send_until_verdict(self.agent, self.request, &self.credential).await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                await_state(self.db, self.challenge, "delivered").await;
                return Some(answer);
            }
        }
        None
    }

    /// Sends the credential and waits until the server is held up in `wanted`.
    async fn send_and_await(&self, wanted: &str) {
        let (agent, request, credential) =
            (self.agent.clone(), self.request.clone(), self.credential.clone());
        let sent = tokio::spawn(async move { agent.send(&request, Some(&credential)).await });
        faults_applied(self.devnet).await;
        await_state(self.db, self.challenge, wanted).await;
        assert!(!sent.is_finished(), "the server is held up");
    }

    /// Sends the credential over HTTP/2 with no window: the answer's head may leave, its body may
    /// not.
    async fn send_without_reading(&self) {
        let url: hyper::Uri = self.request.url.parse().expect("a URL");
        let authority = url.authority().expect("an origin").as_str();
        let stream = TcpStream::connect(authority).await.expect("the server listens");
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        // Ends with the server.
        tokio::spawn(connection);
        let request = hyper::Request::post(&url)
            .header("content-type", "application/json")
            .header("authorization", &self.credential)
            .body(Full::<bytes::Bytes>::from(self.request.body.clone()))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer begins");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(state(self.db, self.challenge).await.as_deref(), Some("settled"));
        tokio::spawn(response.into_body().collect());
    }
}

/// The database refuses to record that an answer left.
async fn refuse_delivery(db: &TestDb) {
    match db.db.engine {
        Engine::Sqlite => {
            db.execute(
                "CREATE TRIGGER refuse_delivery BEFORE UPDATE ON payments WHEN NEW.state = 'delivered' \
                 BEGIN SELECT RAISE(ABORT, 'refused'); END",
            )
            .await;
        }
        Engine::Postgres => {
            db.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN RAISE EXCEPTION 'refused'; END $$",
            )
            .await;
            db.execute(
                "CREATE TRIGGER refuse_delivery BEFORE UPDATE ON payments FOR EACH ROW \
                 WHEN (NEW.state = 'delivered') EXECUTE FUNCTION refuse()",
            )
            .await;
        }
    }
}

/// Ends [`refuse_delivery`].
async fn allow_delivery(db: &TestDb) {
    match db.db.engine {
        Engine::Sqlite => db.execute("DROP TRIGGER IF EXISTS refuse_delivery").await,
        Engine::Postgres => {
            db.execute("DROP TRIGGER IF EXISTS refuse_delivery ON payments").await;
            db.execute("DROP FUNCTION IF EXISTS refuse").await;
        }
    }
}
