//! Several processes: two servers on one database, a server told to stop, and a development server
//! whose chain must not outlive it.

use std::collections::HashSet;

use farebox::devnet::{Fault, Rule};
use reqwest::StatusCode;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::agent::{Agent, Answer, Order};
use crate::process::{Setup, program, until};
use crate::{await_state, hold, insist, nothing_open, settled_accounts, struck};

/// Requests with one credential to each of the two servers.
const REQUESTS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn attack_11_two_processes_one_credential_one_settlement() {
    let Some(db) = crate::db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(&devnet, &db.url);
    let second = first.twin();
    let servers = [first.serve().await, second.serve().await];
    let agent = Agent::funded(&devnet).await;
    let origins = [first.origin(), second.origin()];

    for round in 0..6 {
        let orders = origins.each_ref().map(|origin| Order::preview(origin, "Mail jane@example.com"));
        let challenge = agent.challenge(&orders[round % 2]).await.expect("a challenge");
        let is_push = round % 3 == 2;
        let credential = if is_push { agent.push(&challenge).await } else { agent.pull(&challenge).await };
        // In half of the rounds everybody comes while the chain thinks; in the others as it happens.
        let is_slow = round < 3;
        if is_slow {
            let method = if is_push { "eth_getTransactionReceipt" } else { "eth_sendRawTransactionSync" };
            devnet.faults().set(Rule::new(Fault::Delay { ms: 700 }).on(method).times(1));
        }
        let sent_before = devnet.broadcasts();
        let answers = volley(&agent, &orders, &credential).await;
        assert_eq!(devnet.broadcasts() - sent_before, u64::from(!is_push), "settlements of round {round}");
        let mut paid: Vec<_> = answers.iter().filter(|answer| answer.status == StatusCode::OK).collect();
        for answer in &answers {
            let busy = [StatusCode::OK, StatusCode::CONFLICT, StatusCode::FORBIDDEN];
            assert!(busy.contains(&answer.status), "round {round}: {} {}", answer.status, answer.body);
            assert!(answer.challenges.is_empty(), "nobody is asked to pay twice");
        }
        if is_slow {
            assert_eq!(paid.len(), 1, "answers of round {round}");
        }
        let winner = paid.pop().expect("one gets the answer");
        // Whoever comes between settlement and delivery may get the same answer, no other.
        assert!(paid.iter().all(|other| (&other.body, &other.receipt) == (&winner.body, &winner.receipt)));
        await_state(&db, &challenge.id, "delivered").await;
        for answer in volley(&agent, &orders, &credential).await {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
        }
        settled_accounts(&devnet, &db, &first, &agent, round as u64 + 1).await;
    }
    nothing_open(&db, &first).await;
    for server in servers {
        server.kill().await;
    }
    devnet.stop().await;
}

/// The same credential to every server at once.
async fn volley(agent: &Agent, orders: &[Order], credential: &str) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for order in orders.iter().cycle().take(orders.len() * REQUESTS) {
        let (agent, order, credential) = (agent.clone(), order.clone(), credential.to_owned());
        requests.spawn(async move { agent.send(&order, Some(&credential)).await.expect("an answer") });
    }
    requests.join_all().await
}

/// A server on PostgreSQL that dies leaves its payments to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_instance_leaves_its_payments_to_the_living() {
    let Some(db) = crate::db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(&devnet, &db.url);
    let second = first.twin();
    let (dying, living) = (first.serve().await, second.serve().await);
    let agent = Agent::funded(&devnet).await;
    let order = Order::preview(&first.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&order).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    hold(&devnet, "eth_sendRawTransactionSync");
    let cut_off = tokio::spawn({
        let (agent, credential) = (agent.clone(), credential.clone());
        async move { agent.send(&order, Some(&credential)).await }
    });
    struck(&devnet).await;
    await_state(&db, &challenge.id, "broadcast").await;
    dying.kill().await;
    assert!(cut_off.await.expect("the request ends").is_err());

    let order = Order::preview(&second.origin(), "Mail jane@example.com");
    let answer = insist(&agent, &order, &credential).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    settled_accounts(&devnet, &db, &first, &agent, 1).await;
    nothing_open(&db, &second).await;
    living.kill().await;
    devnet.stop().await;
}

/// While its server lives, a payment stays with it, however long the chain takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_payment_is_not_taken_over() {
    let Some(db) = crate::db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(&devnet, &db.url);
    let second = first.twin();
    let servers = [first.serve().await, second.serve().await];
    let agent = Agent::funded(&devnet).await;
    let orders = [&first, &second].map(|setup| Order::preview(&setup.origin(), "Mail jane@example.com"));
    let challenge = agent.challenge(&orders[0]).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    // Longer than a lease that is not renewed.
    devnet.faults().set(Rule::new(Fault::Delay { ms: 9000 }).on("eth_sendRawTransactionSync").times(1));
    let paying = tokio::spawn({
        let (agent, order, credential) = (agent.clone(), orders[0].clone(), credential.clone());
        async move { agent.send(&order, Some(&credential)).await }
    });
    struck(&devnet).await;
    let other = insist(&agent, &orders[1], &credential).await;
    let answer = paying.await.expect("the request ends").expect("it is answered");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // In the moment between settlement and delivery it gets the same answer, afterwards none.
    assert!(other.status == StatusCode::FORBIDDEN || other.body == answer.body, "{}", other.body);
    assert_eq!(devnet.broadcasts(), 1);
    settled_accounts(&devnet, &db, &first, &agent, 1).await;
    nothing_open(&db, &first).await;
    for server in servers {
        server.kill().await;
    }
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_a_payment_finishes_it() {
    let db = crate::db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(&devnet, &db.url).with("FAREBOX_SERVER_DRAIN_SECONDS", "10");
    let mut server = setup.serve().await;
    let agent = Agent::funded(&devnet).await;
    let order = Order::preview(&setup.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&order).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    devnet.faults().set(Rule::new(Fault::Delay { ms: 1000 }).on("eth_sendRawTransactionSync").times(1));
    let paying = tokio::spawn({
        let (agent, order) = (agent.clone(), order.clone());
        async move { agent.send(&order, Some(&credential)).await }
    });
    struck(&devnet).await;
    server.terminate().await;
    until("newcomers are turned away", async || agent.send(&order, None).await.is_err()).await;
    assert!(!paying.is_finished(), "the payment is still under way");
    let answer = paying.await.expect("the request ends").expect("it is answered");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.log());
    assert_eq!(crate::state(&db, &challenge.id).await.as_deref(), Some("delivered"));
    settled_accounts(&devnet, &db, &setup, &agent, 1).await;
    nothing_open(&db, &setup).await;
    devnet.stop().await;
}

/// What does not end within the drain time is cut off, and finished by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_ever() {
    let db = crate::db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(&devnet, &db.url).with("FAREBOX_SERVER_DRAIN_SECONDS", "1");
    let mut server = setup.serve().await;
    let agent = Agent::funded(&devnet).await;
    let order = Order::preview(&setup.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&order).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    hold(&devnet, "eth_sendRawTransactionSync");
    let cut_off = tokio::spawn({
        let (agent, order, credential) = (agent.clone(), order.clone(), credential.clone());
        async move { agent.send(&order, Some(&credential)).await }
    });
    struck(&devnet).await;
    server.terminate().await;
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.log());
    assert!(cut_off.await.expect("the request ends").is_err());

    let server = setup.serve().await;
    let answer = insist(&agent, &order, &credential).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    settled_accounts(&devnet, &db, &setup, &agent, 1).await;
    nothing_open(&db, &setup).await;
    server.kill().await;
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_30_kill_9_leaves_no_anvil_behind() {
    let data = tempfile::tempdir().expect("temporary folder");
    let mut command = program();
    command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
    if let Some(anvil) = std::env::var_os("FAREBOX_ANVIL") {
        command.env("FAREBOX_ANVIL", anvil);
    }
    let mut server = command.stdout(std::process::Stdio::null()).spawn().expect("the program starts");
    let info = data.path().join("dev.json");
    until("farebox dev is up", async || {
        assert_eq!(server.try_wait().expect("its state is known"), None, "farebox dev ended");
        info.exists()
    })
    .await;
    let offspring = descendants(server.id().expect("it runs")).await;
    assert!(offspring.iter().any(|process| process.command.contains("anvil")), "{offspring:?}");

    server.kill().await.expect("it was running");
    let ids: HashSet<u32> = offspring.iter().map(|process| process.id).collect();
    until("the chain ends with its server", async || {
        // An id can be another's by now, so the command must still be the same.
        let left = processes().await;
        !left.iter().any(|process| ids.contains(&process.id) && process.command.contains("anvil"))
    })
    .await;
}

#[derive(Debug, Clone)]
struct Process {
    id: u32,
    parent: u32,
    command: String,
}

/// Everything that runs; what has ended and only waits to be collected does not.
async fn processes() -> Vec<Process> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat=,args="]).output().await;
    let listed = listed.expect("ps runs");
    let text = String::from_utf8_lossy(&listed.stdout);
    let process = |line: &str| {
        let mut words = line.split_whitespace();
        let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let runs = !words.next()?.starts_with('Z');
        runs.then(|| Process { id, parent, command: words.collect::<Vec<_>>().join(" ") })
    };
    text.lines().filter_map(process).collect()
}

async fn descendants(of: u32) -> Vec<Process> {
    let all = processes().await;
    let mut family = HashSet::from([of]);
    let mut found = Vec::new();
    loop {
        let children: Vec<_> =
            all.iter().filter(|p| family.contains(&p.parent) && !family.contains(&p.id)).cloned().collect();
        if children.is_empty() {
            return found;
        }
        family.extend(children.iter().map(|process| process.id));
        found.extend(children);
    }
}
