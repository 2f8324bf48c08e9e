//! Several processes: two servers on one database, a server stopped by a signal, and a development server
//! whose chain must not outlive it.

use std::collections::HashSet;

use farebox::devnet::{Fault, Rule};
use farebox_test_support::db;
use farebox_test_support::process::{Setup, program, wait_until};
use farebox_test_support::sdk_agent::{PaidAnswer, PaidRequest, SdkAgent};
use reqwest::StatusCode;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::{
    assert_nothing_open, assert_settled, await_state, delay_next, faults_applied, send_until_verdict,
};

/// Requests with one credential to each of the two servers.
const REQUESTS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn attack_11_two_processes_one_credential_one_settlement() {
    let Some(db) = db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let second = first.second_instance();
    let servers = [first.serve().await, second.serve().await];
    let agent = SdkAgent::funded(&devnet).await;
    let origins = [first.origin(), second.origin()];

    for round in 0..6 {
        let requests = origins.each_ref().map(|origin| PaidRequest::preview(origin, "Mail jane@example.com"));
        let challenge = agent.challenge(&requests[round % 2]).await.expect("a challenge");
        let is_push = round % 3 == 2;
        let credential = if is_push { agent.push(&challenge).await } else { agent.pull(&challenge).await };
        // In half of the rounds everybody comes while the chain thinks; in the others as it happens.
        let is_slow = round < 3;
        if is_slow {
            let method = if is_push { "eth_getTransactionReceipt" } else { "eth_sendRawTransactionSync" };
            devnet.faults().set(Rule::new(Fault::Delay { ms: 700 }).on(method).times(1));
        }
        let sent_before = devnet.broadcasts();
        let answers = send_at_once(&agent, &requests, &credential).await;
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
        for answer in send_at_once(&agent, &requests, &credential).await {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.body);
        }
        assert_settled(&devnet, &db, &first, &agent, round as u64 + 1).await;
    }
    assert_nothing_open(&db, &first).await;
    for server in servers {
        server.kill().await;
    }
    devnet.stop().await;
}

/// One credential is sent to every server at once.
async fn send_at_once(agent: &SdkAgent, requests: &[PaidRequest], credential: &str) -> Vec<PaidAnswer> {
    let mut tasks = JoinSet::new();
    for request in requests.iter().cycle().take(requests.len() * REQUESTS) {
        let (agent, request, credential) = (agent.clone(), request.clone(), credential.to_owned());
        tasks.spawn(async move { agent.send(&request, Some(&credential)).await.expect("an answer") });
    }
    tasks.join_all().await
}

/// A server on PostgreSQL that dies leaves its payments to the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_instance_leaves_its_payments_to_the_living() {
    let Some(db) = db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let second = first.second_instance();
    let (dying, living) = (first.serve().await, second.serve().await);
    let agent = SdkAgent::funded(&devnet).await;
    let request = PaidRequest::preview(&first.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&request).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    delay_next(&devnet, "eth_sendRawTransactionSync");
    let cut_off = tokio::spawn({
        let (agent, credential) = (agent.clone(), credential.clone());
        async move { agent.send(&request, Some(&credential)).await }
    });
    faults_applied(&devnet).await;
    await_state(&db, &challenge.id, "broadcast").await;
    dying.kill().await;
    assert!(cut_off.await.expect("the request ends").is_err());

    let request = PaidRequest::preview(&second.origin(), "Mail jane@example.com");
    let answer = send_until_verdict(&agent, &request, &credential).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_settled(&devnet, &db, &first, &agent, 1).await;
    assert_nothing_open(&db, &second).await;
    living.kill().await;
    devnet.stop().await;
}

/// While its server lives, a payment stays with it, however long the chain takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_payment_is_not_taken_over() {
    let Some(db) = db::postgres().await else { return };
    let devnet = crate::devnet().await;
    let first = Setup::new(crate::FAREBOX, &devnet, &db.url);
    let second = first.second_instance();
    let servers = [first.serve().await, second.serve().await];
    let agent = SdkAgent::funded(&devnet).await;
    let requests =
        [&first, &second].map(|setup| PaidRequest::preview(&setup.origin(), "Mail jane@example.com"));
    let challenge = agent.challenge(&requests[0]).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    // Longer than a lease that is not renewed.
    devnet.faults().set(Rule::new(Fault::Delay { ms: 9000 }).on("eth_sendRawTransactionSync").times(1));
    let paying = tokio::spawn({
        let (agent, request, credential) = (agent.clone(), requests[0].clone(), credential.clone());
        async move { agent.send(&request, Some(&credential)).await }
    });
    faults_applied(&devnet).await;
    let other = send_until_verdict(&agent, &requests[1], &credential).await;
    let answer = paying.await.expect("the request ends").expect("it is answered");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    // In the moment between settlement and delivery it gets the same answer, afterwards none.
    assert!(other.status == StatusCode::FORBIDDEN || other.body == answer.body, "{}", other.body);
    assert_eq!(devnet.broadcasts(), 1);
    assert_settled(&devnet, &db, &first, &agent, 1).await;
    assert_nothing_open(&db, &first).await;
    for server in servers {
        server.kill().await;
    }
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_during_a_payment_finishes_it() {
    let db = db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url).with("FAREBOX_SERVER_DRAIN_SECONDS", "10");
    let mut server = setup.serve().await;
    let agent = SdkAgent::funded(&devnet).await;
    let request = PaidRequest::preview(&setup.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&request).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    devnet.faults().set(Rule::new(Fault::Delay { ms: 1000 }).on("eth_sendRawTransactionSync").times(1));
    let paying = tokio::spawn({
        let (agent, request) = (agent.clone(), request.clone());
        async move { agent.send(&request, Some(&credential)).await }
    });
    faults_applied(&devnet).await;
    server.terminate().await;
    wait_until("newcomers are turned away", async || agent.send(&request, None).await.is_err()).await;
    assert!(!paying.is_finished(), "the payment is still under way");
    let answer = paying.await.expect("the request ends").expect("it is answered");
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.log());
    assert_eq!(crate::state(&db, &challenge.id).await.as_deref(), Some("delivered"));
    assert_settled(&devnet, &db, &setup, &agent, 1).await;
    assert_nothing_open(&db, &setup).await;
    devnet.stop().await;
}

/// Requests that do not end within the drain time are cut off, and finished by the next start.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_ever() {
    let db = db::sqlite().await;
    let devnet = crate::devnet().await;
    let setup = Setup::new(crate::FAREBOX, &devnet, &db.url).with("FAREBOX_SERVER_DRAIN_SECONDS", "1");
    let mut server = setup.serve().await;
    let agent = SdkAgent::funded(&devnet).await;
    let request = PaidRequest::preview(&setup.origin(), "Mail jane@example.com");
    let challenge = agent.challenge(&request).await.expect("a challenge");
    let credential = agent.pull(&challenge).await;

    delay_next(&devnet, "eth_sendRawTransactionSync");
    let cut_off = tokio::spawn({
        let (agent, request, credential) = (agent.clone(), request.clone(), credential.clone());
        async move { agent.send(&request, Some(&credential)).await }
    });
    faults_applied(&devnet).await;
    server.terminate().await;
    let status = server.ended().await;
    assert!(status.success(), "{status}: {}", server.log());
    assert!(cut_off.await.expect("the request ends").is_err());

    let server = setup.serve().await;
    let answer = send_until_verdict(&agent, &request, &credential).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_settled(&devnet, &db, &setup, &agent, 1).await;
    assert_nothing_open(&db, &setup).await;
    server.kill().await;
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_30_kill_9_leaves_no_anvil_behind() {
    let data = tempfile::tempdir().expect("temporary folder");
    let mut command = program(crate::FAREBOX);
    command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
    if let Some(anvil) = std::env::var_os("FAREBOX_ANVIL") {
        command.env("FAREBOX_ANVIL", anvil);
    }
    let mut server = command.stdout(std::process::Stdio::null()).spawn().expect("the program starts");
    let info = data.path().join("dev.json");
    wait_until("farebox dev is up", async || {
        assert_eq!(server.try_wait().expect("its state is known"), None, "farebox dev ended");
        info.exists()
    })
    .await;
    let offspring = descendants(server.id().expect("it runs")).await;
    assert!(offspring.iter().any(|process| process.command.contains("anvil")), "{offspring:?}");

    server.kill().await.expect("it was running");
    let ids: HashSet<u32> = offspring.iter().map(|process| process.id).collect();
    wait_until("the chain ends with its server", async || {
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

/// All running processes; one that has ended and only waits to be collected is not.
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
