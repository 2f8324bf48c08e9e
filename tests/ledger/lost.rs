//! Connections to PostgreSQL that are lost at the worst moment: after a commit, before its answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use farebox::db::Db;
use farebox::ledger::{ChargeOutcome, CloseOutcome, HoldRequest, Ledger, LedgerError, Owed};
use farebox_test_support::db::{TestDb, postgres};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::*;

/// Fault of a message to the server.
#[derive(Debug, Clone)]
enum Fault {
    /// It does not arrive.
    Undelivered,
    /// It arrives and is executed, and the answer is replaced with this.
    Answered(Vec<u8>),
    /// The connection is lost first, and the message arrives when it is [released](Proxy::release).
    Late,
}

/// A proxy in front of the server that loses connections: what happens to the next messages.
#[derive(Clone)]
struct Proxy {
    next: Arc<Mutex<VecDeque<Fault>>>,
    /// Fault of the next message that commits a transaction.
    commit: Arc<Mutex<Option<Fault>>>,
    /// A permit for each late message that may arrive.
    released: Arc<Semaphore>,
    /// A permit for each late message that was answered.
    answered: Arc<Semaphore>,
}

impl Proxy {
    /// The database of `engine` as it is reached through the proxy.
    async fn before(engine: &TestDb) -> (Self, Db) {
        let (begin, rest) = engine.url.rsplit_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{begin}@{}/{name}", listener.local_addr().unwrap());
        let none = || Arc::new(Semaphore::new(0));
        let proxy = Self { next: Arc::default(), commit: Arc::default(), released: none(), answered: none() };
        let server = server.to_owned();
        tokio::spawn({
            let proxy = proxy.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (proxy, server) = (proxy.clone(), server.clone());
                    tokio::spawn(async move { proxy.serve(client, &server).await });
                }
            }
        });
        (proxy, Db::connect(&url, 2).await.unwrap())
    }

    fn arm(&self, fault: Fault) {
        self.next.lock().unwrap().push_back(fault);
    }

    fn arm_commit(&self, fault: Fault) {
        *self.commit.lock().unwrap() = Some(fault);
    }

    /// Lets that many late messages arrive, and waits until they are answered.
    async fn release(&self, messages: u32) {
        self.released.add_permits(messages as usize);
        self.answered.acquire_many(messages).await.expect("it is never closed").forget();
    }

    /// Takes the fault of this message.
    fn fault(&self, message: &[u8]) -> Option<Fault> {
        let commits = message.ends_with(b"COMMIT\0");
        let fault = if commits { self.commit.lock().unwrap().take() } else { None };
        fault.or_else(|| self.next.lock().unwrap().pop_front())
    }

    async fn serve(&self, mut client: TcpStream, server: &str) -> std::io::Result<()> {
        let mut server = TcpStream::connect(server).await?;
        let (mut request_bytes, mut answer_bytes) = ([0; 8_192], [0; 8_192]);
        loop {
            tokio::select! {
                read = client.read(&mut request_bytes) => {
                    let read = read?;
                    match self.fault(&request_bytes[..read]) {
                        _ if read == 0 => return Ok(()),
                        None => server.write_all(&request_bytes[..read]).await?,
                        Some(Fault::Undelivered) => return Ok(()),
                        Some(Fault::Answered(instead)) => {
                            execute(&mut server, &request_bytes[..read]).await?;
                            return client.write_all(&instead).await;
                        }
                        Some(Fault::Late) => {
                            drop(client);
                            self.released.acquire().await.expect("it is never closed").forget();
                            execute(&mut server, &request_bytes[..read]).await?;
                            self.answered.add_permits(1);
                            return Ok(());
                        }
                    }
                }
                read = server.read(&mut answer_bytes) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    client.write_all(&answer_bytes[..read]).await?;
                }
            }
        }
    }
}

/// Delivers a message, and waits until its transaction has ended.
async fn execute(server: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    server.write_all(message).await?;
    let (mut answer, mut answer_bytes) = (Vec::new(), [0; 8_192]);
    // "Ready for query, idle".
    while !answer.ends_with(b"Z\0\0\0\x05I") {
        let read = server.read(&mut answer_bytes).await?;
        answer.extend_from_slice(&answer_bytes[..read]);
    }
    Ok(())
}

/// Errors with which PostgreSQL, or a proxy in front of it, gives a connection up.
fn error_response(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mserver conn crashed?\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap();
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}

fn faults() -> [Fault; 5] {
    let words = [("FATAL", "08P01"), ("PANIC", "58030"), ("FATAL", "57P01"), ("ERROR", "08006")];
    let [a, b, c, d] = words.map(|(severity, code)| Fault::Answered(error_response(severity, code)));
    [a, b, c, d, Fault::Answered(Vec::new())]
}

#[tokio::test]
async fn attack_30_a_commit_whose_answer_is_lost_is_found_and_not_made_again() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let ledger = Ledger::start(db);
    let account = funded(&ledger, "a", 1000).await;
    for fault in faults() {
        let before = ledger.balance(&account).await.unwrap();
        // Each statement is prepared before its answer is lost.
        let [charged_hold, captured_hold, other] = [
            open(&ledger, opening(&account, 10, 10), 10).await,
            open(&ledger, opening(&account, 10, 10), 10).await,
            open(&ledger, opening(&account, 10, 10), 10).await,
        ];
        ledger.charge(&charged_hold, money(1)).await.unwrap();
        proxy.arm(fault.clone());
        assert_eq!(ledger.charge(&charged_hold, money(1)).await.unwrap(), charged(2), "{fault:?}");
        assert_eq!(ledger.charge(&charged_hold, money(1)).await.unwrap(), charged(3), "{fault:?}");

        ledger.capture(capture(&other, Owed::AtMost(money(5)))).await.unwrap();
        proxy.arm(fault.clone());
        let closed = ledger.capture(capture(&captured_hold, Owed::AtMost(money(5)))).await.unwrap();
        let CloseOutcome::Closed { entry, .. } = closed else { panic!("{fault:?}: {closed:?}") };
        assert_eq!(entry.amount, money(5));
        let again = ledger.capture(capture(&captured_hold, Owed::AtMost(money(5)))).await.unwrap();
        assert_eq!(again, CloseOutcome::AlreadyClosed { entry }, "{fault:?}");

        open(&ledger, opening(&account, 10, 10), 10).await;
        proxy.arm(fault.clone());
        open(&ledger, opening(&account, 10, 10), 10).await;
        let after = ledger.balance(&account).await.unwrap();
        let rose = |after: Money, before: Money| after.checked_sub(before).unwrap();
        assert_eq!(rose(after.spent(), before.spent()), money(3 + 5 + 5), "{fault:?}");
        assert_eq!(rose(after.held(), before.held()), money(7 + 10 + 10), "{fault:?}");
        assert_clean(&ledger).await;
    }
}

/// So it is when rows were locked first: for what cached rows do not grant in full.
#[tokio::test]
async fn attack_30_a_locked_commit_whose_answer_is_lost_is_found_and_not_made_again() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let (ledger, other) = (Ledger::start(db), Ledger::start(engine.db.clone()));
    let has_happened = || proxy.commit.lock().unwrap().is_none();
    for (number, fault) in faults().into_iter().enumerate() {
        let account = funded(&ledger, &format!("a{number}"), 30).await;
        // An idempotency key is looked up in the transaction.
        let keyed = HoldRequest { idempotency_key: Some("k".to_owned()), ..opening(&account, 10, 10) };
        proxy.arm_commit(fault.clone());
        let first = open(&ledger, keyed, 10).await;
        assert!(has_happened(), "{fault:?}");
        let second = open(&ledger, opening(&account, 20, 20), 20).await;
        ledger.charge(&second, money(1)).await.unwrap();
        // Cached rows do not know of these charges.
        other.charge(&first, money(1)).await.unwrap();
        other.charge(&second, money(1)).await.unwrap();
        proxy.arm_commit(fault.clone());
        assert_eq!(ledger.charge(&second, money(5)).await.unwrap(), charged(7), "{fault:?}");
        assert!(has_happened(), "{fault:?}");
        proxy.arm_commit(fault.clone());
        let closed = ledger.capture(capture(&first, Owed::Exactly(money(9)))).await.unwrap();
        assert!(has_happened(), "{fault:?}");
        let CloseOutcome::Closed { entry, .. } = closed else { panic!("{fault:?}: {closed:?}") };
        assert_eq!(entry.amount, money(10), "{fault:?}");
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(30, 17, 13), "{fault:?}");

        // More than there is, though more than cached rows know of.
        let later = source(&format!("later{number}"));
        ledger.credit(&account, money(10), &later, NOW).await.unwrap();
        let closed = ledger.capture(capture(&second, Owed::AtMost(money(100)))).await.unwrap();
        let CloseOutcome::Closed { entry, .. } = closed else { panic!("{fault:?}: {closed:?}") };
        assert_eq!(entry.amount, money(30), "{fault:?}");
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(40, 40, 0), "{fault:?}");
        assert_clean(&ledger).await;
    }
}

/// As long as nobody can look, no answer says that it was done, or that it was not.
#[tokio::test]
async fn attack_30_a_commit_that_cannot_be_looked_up_is_an_error() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let ledger = Ledger::start(db);
    let account = funded(&ledger, "a", 1000).await;
    let hold = open(&ledger, opening(&account, 10, 10), 10).await;
    ledger.charge(&hold, money(1)).await.unwrap();
    proxy.arm(Fault::Answered(Vec::new()));
    // Neither on that connection nor on the next.
    proxy.arm(Fault::Undelivered);
    proxy.arm(Fault::Undelivered);
    let lost = ledger.charge(&hold, money(1)).await;
    assert!(matches!(lost, Err(LedgerError::Database(_))), "{lost:?}");
    assert_eq!(ledger.charge(&hold, money(1)).await.unwrap(), charged(3));
    assert_clean(&ledger).await;
}

/// Its batch was executed again meanwhile: holds have changed, and ids are taken.
#[tokio::test]
async fn attack_30_a_write_that_arrives_late_changes_nothing() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let ledger = Ledger::start(db);
    let account = funded(&ledger, "a", 1000).await;
    let [hold, other] =
        [open(&ledger, opening(&account, 10, 10), 10).await, open(&ledger, opening(&account, 0, 0), 0).await];
    // Each statement is prepared before it is lost.
    ledger.charge(&hold, money(1)).await.unwrap();
    proxy.arm(Fault::Late);
    assert_eq!(ledger.charge(&hold, money(1)).await.unwrap(), charged(2));
    ledger.charge(&other, money(1)).await.unwrap();
    proxy.arm(Fault::Late);
    assert_eq!(ledger.charge_ahead(&other, money(5), money(7)).await.unwrap(), charged(6));
    let last = open(&ledger, opening(&account, 0, 0), 0).await;
    ledger.capture(capture(&last, Owed::NOTHING)).await.unwrap();
    proxy.arm(Fault::Late);
    let closed = ledger.capture(capture(&hold, Owed::Exactly(money(3)))).await.unwrap();
    assert!(matches!(closed, CloseOutcome::Closed { .. }), "{closed:?}");
    open(&ledger, opening(&account, 20, 20), 20).await;
    proxy.arm(Fault::Late);
    open(&ledger, opening(&account, 20, 20), 20).await;
    let before = ledger.balance(&account).await.unwrap();
    assert_eq!(before, balance(1000, 2 + 3 + 6, 7 + 20 + 20));
    proxy.release(4).await;
    assert_eq!(ledger.balance(&account).await.unwrap(), before);
    assert_eq!(ledger.charge(&other, money(1)).await.unwrap(), charged(7));
    assert_clean(&ledger).await;
}

/// The second try was refused, because another instance had the money just then, and the first one arrives after it all
/// the same. Its charge stands while the hold is open; a capture that says what is owed in all gives it back.
#[tokio::test]
async fn attack_30_a_charge_that_arrives_after_it_was_refused_is_given_back_at_the_end() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let (ledger, other) = (Ledger::start(db), Ledger::start(engine.db.clone()));
    for (number, owed) in [Owed::InAll(money(16)), Owed::AtMost(money(0))].into_iter().enumerate() {
        let account = funded(&ledger, &format!("a{number}"), 100).await;
        let hold = open(&ledger, opening(&account, 10, 10), 10).await;
        // The statement is prepared before it is lost.
        ledger.charge(&hold, money(8)).await.unwrap();
        ledger.charge(&hold, money(8)).await.unwrap();
        let all = open(&other, opening(&account, 84, 84), 84).await;
        proxy.arm(Fault::Late);
        let refused = ledger.charge(&hold, money(5)).await.unwrap();
        assert!(matches!(refused, ChargeOutcome::Short { .. }), "{refused:?}");
        other.capture(capture(&all, Owed::NOTHING)).await.unwrap();
        assert_eq!(ledger.balance(&account).await.unwrap().spent(), money(16));
        proxy.release(1).await;
        assert_eq!(ledger.balance(&account).await.unwrap().spent(), money(16 + 5), "this test is about it");

        let closed = ledger.capture(capture(&hold, owed)).await.unwrap();
        let CloseOutcome::Closed { entry, .. } = closed else { panic!("{closed:?}") };
        // A channel's stream, whose charges never fall, keeps it: one batch of chunks at the most.
        let kept = if matches!(owed, Owed::InAll(_)) { 16 } else { 16 + 5 };
        assert_eq!(entry.amount, money(kept), "{owed:?}");
        assert_eq!(ledger.balance(&account).await.unwrap(), balance(100, kept, 0), "{owed:?}");
        assert_clean(&ledger).await;
    }
}

#[tokio::test]
async fn attack_30_a_statement_that_was_lost_on_its_way_is_sent_again() {
    let Some(engine) = postgres().await else { return };
    let (proxy, db) = Proxy::before(&engine).await;
    let ledger = Ledger::start(db);
    let account = funded(&ledger, "a", 1000).await;
    let hold = open(&ledger, opening(&account, 10, 10), 10).await;
    for total in 1..=3 {
        proxy.arm(Fault::Undelivered);
        assert_eq!(ledger.charge(&hold, money(1)).await.unwrap(), charged(total));
    }
    proxy.arm(Fault::Undelivered);
    let second = open(&ledger, opening(&account, 10, 10), 10).await;
    proxy.arm(Fault::Undelivered);
    let closed = ledger.capture(capture(&hold, Owed::AtMost(money(5)))).await.unwrap();
    assert!(matches!(closed, CloseOutcome::Closed { .. }), "{closed:?}");
    // What was remembered is looked up when it was lost in between.
    ledger.close(&second, &details(), NOW).await.unwrap();
    proxy.arm(Fault::Undelivered);
    assert_eq!(ledger.charge(&second, money(1)).await.unwrap(), ChargeOutcome::Closed);
    assert_eq!(ledger.balance(&account).await.unwrap(), balance(1000, 8, 0));
    assert_clean(&ledger).await;
}
