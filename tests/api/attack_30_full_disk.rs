//! Class 30, a full disk: the program may write files of a certain size and no larger.

use std::net::TcpListener;
use std::process::Stdio;

use farebox_test_support::agent::{Agent, Challenge, authorization};
use farebox_test_support::db;
use farebox_test_support::harness::{
    BODY, PREVIEW, SECRET, Server, client, eventually, funded, reply, run, shared_chain,
};
use futures_util::future::join_all;
use tokio::process::{Child, Command};

/// Blocks of 512 or 1024 bytes, as the shell counts: less than the database's log needs for a few
/// dozen payments.
const BLOCKS: u32 = 1_200;

/// `farebox serve` under the limit.
async fn serve(database: &str, rpc_url: &str, recipient: &str) -> (Child, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}");
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$@\"");
    command.args(["-c", &script, "sh", crate::FAREBOX, "serve"]);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--database", database]);
    for (key, value) in [
        ("server.public_url", url.as_str()),
        ("payments.secret", SECRET),
        ("payments.recipient", recipient),
        ("chain.rpc_url", rpc_url),
        ("chain.chain_id", "1337"),
    ] {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.kill_on_drop(true).spawn().expect("farebox starts");
    eventually("farebox serve is up", async || client().get(format!("{url}/healthz")).send().await.ok())
        .await;
    (child, url)
}

#[test]
fn attack_30_a_full_disk_is_503_and_loses_no_payment() {
    run(async {
        let chain = shared_chain().await;
        let database = db::sqlite().await;
        database.db.close().await;
        let recipient = Agent::random().address();
        let agent = funded(chain).await;
        let (mut child, url) = serve(&database.url, &chain.rpc_url(), &recipient.to_string()).await;
        let post =
            || client().post(format!("{url}{PREVIEW}")).body(BODY).header("content-type", "application/json");

        let mut answered = 0;
        let unanswered = loop {
            assert!(answered < 150, "the disk is never full");
            let challenges: Vec<Challenge> =
                join_all((0..4).map(|_| async { reply(post()).await.challenge() })).await;
            let credentials: Vec<_> = challenges.iter().map(|challenges| agent.pull(challenges)).collect();
            let pay = credentials
                .iter()
                .map(|credential| reply(post().header("authorization", authorization(credential))));
            let replies = join_all(pay).await;
            for reply in &replies {
                assert!([200, 503].contains(&reply.status), "{}", reply.text);
            }
            answered += replies.iter().filter(|reply| reply.status == 200).count();
            let open = credentials.into_iter().zip(&replies).filter(|(_, reply)| reply.status == 503);
            let open: Vec<_> = open.map(|(credential, _)| credential).collect();
            if !open.is_empty() {
                break open;
            }
        };
        // What needs no disk goes on.
        assert_eq!(reply(post()).await.status, 402);
        child.kill().await.expect("ended");

        // With room again, every credential that got no answer gets one, for one payment.
        let database = database.reconnected().await;
        let server =
            Server::on(database, &chain.rpc_url(), |config| config.payments.recipient = recipient).await;
        for credential in &unanswered {
            eventually("an answer", async || {
                let again = server.pay(credential).await;
                assert!([200, 409, 503].contains(&again.status), "{}", again.text);
                (again.status == 200).then_some(())
            })
            .await;
        }
        server.assert_ledger(chain, u64::try_from(answered + unanswered.len()).unwrap()).await;
    });
}
