//! Row 13: parts of another channel, and transactions that are not what they are said to be.

use alloy::primitives::{Address, B256};
use farebox::config::Secret;
use farebox::devnet::TOKENS;
use farebox::funding::channel::Phase;
use farebox::money::Money;
use farebox::payments::methods::tempo::session::ChannelId;
use farebox_test_support::agent::{self, Agent};
use farebox_test_support::db;
use farebox_test_support::harness::{own_chain, reply, run, send_raw, sponsor_key};
use farebox_test_support::payer::{ChannelTerms, Payer};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{CHAT, DEPOSIT, Fixture, PRICE, body, on_every_engine};

/// Nothing of this channel was kept, and nothing was sent.
async fn unknown(fixture: &Fixture<'_>, payer: &Payer) {
    let sessions = fixture.server.app.sessions.as_ref().expect("sessions are on");
    let found = sessions.channels.find(ChannelId(payer.id)).await.expect("the database answers");
    assert!(found.is_none(), "{found:?}");
}

/// Changes one parameter of the channel.
type Alteration = fn(&mut ChannelTerms);

#[test]
fn attack_13_channels_of_other_terms_are_refused_before_broadcast() {
    run(async {
        let chain = own_chain().await;
        let fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        let (agent, challenge) = (fixture.agent().await, fixture.challenge().await);
        let sent = chain.broadcasts();
        let outsider = Address::repeat_byte(7);
        let alterations: [(&str, Alteration); 5] = [
            ("payee", |terms| terms.payee = Address::repeat_byte(7)),
            ("token", |terms| terms.token = TOKENS[1]),
            ("operator", |terms| terms.operator = Address::ZERO),
            ("chain", |terms| terms.chain_id = 1),
            ("escrow", |terms| terms.escrow = Address::repeat_byte(8)),
        ];
        for (what, alter) in alterations {
            let payer = Payer::altered(agent.clone(), challenge.clone(), DEPOSIT, alter);
            for payload in [payer.open(PRICE), payer.voucher(PRICE)] {
                let reply = fixture.manage(&payer, payload).await;
                assert!([402, 410].contains(&reply.status), "{what}: {}", reply.text);
            }
            fixture.reply(&payer, payer.open(PRICE), &body(&json!({}), true)).await.challenge();
            unknown(&fixture, &payer).await;
        }

        // A descriptor that is not the one of the transaction, in each of its fields.
        let payer = Payer::prepare(agent.clone(), challenge.clone(), DEPOSIT);
        for field in ["payer", "payee", "operator", "token", "authorizedSigner"] {
            let mut payload = payer.open(PRICE);
            payload["descriptor"][field] = json!(outsider);
            let reply = fixture.manage(&payer, payload).await;
            assert_eq!((reply.status, reply.code().as_str()), (402, "malformed_credential"), "{field}");
        }
        for field in ["salt", "expiringNonceHash"] {
            let mut payload = payer.open(PRICE);
            payload["descriptor"][field] = json!(B256::repeat_byte(1));
            fixture.manage(&payer, payload).await.assert(402, "malformed_credential");
        }
        // The id, descriptor and voucher of one channel with the transaction of another.
        let other = Payer::prepare(agent.clone(), challenge.clone(), DEPOSIT);
        let mut payload = payer.open(PRICE);
        payload["transaction"] = json!(other.transaction);
        fixture.manage(&payer, payload).await.assert(402, "verification_failed");
        // A signed transfer, a top-up, nonsense, and an open among other calls.
        let transfer = agent.transaction(vec![agent::transfer(TOKENS[0], challenge.recipient(), DEPOSIT)]);
        let open = payer.agent.transaction(vec![
            agent::transfer(TOKENS[0], outsider, 1),
            agent::transfer(TOKENS[0], outsider, 2),
        ]);
        let transactions = [
            agent.sign(transfer).raw,
            payer.top_up_transaction(1),
            agent.sign(open).raw,
            "0x76".into(),
            String::new(),
        ];
        for transaction in transactions {
            let mut payload = payer.open(PRICE);
            payload["transaction"] = json!(transaction);
            fixture.manage(&payer, payload).await.assert(402, "verification_failed");
        }
        // A credential for a challenge that is another server's, or says another price.
        let mut foreign = payer.clone();
        foreign.challenge.resign("another server's secret, long enough to be one");
        fixture.manage(&foreign, payer.open(PRICE)).await.assert(402, "invalid_challenge");
        unknown(&fixture, &payer).await;
        assert_eq!(chain.broadcasts(), sent, "nothing of all this left the server");
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_13_an_open_below_one_unit_is_refused_before_broadcast() {
    run(async {
        let chain = own_chain().await;
        let fixture = Fixture::on(db::sqlite().await, &chain, |_| {}).await;
        let sent = chain.broadcasts();
        let small = fixture.payer(PRICE - 1).await;
        fixture.manage(&small, small.open(PRICE - 1)).await.assert(402, "amount_exceeds_deposit");
        fixture.reply(&small, small.open(PRICE - 1), &body(&json!({}), true)).await.challenge();
        let payer = fixture.payer(DEPOSIT).await;
        // A first voucher above the deposit, or one that buys nothing.
        fixture.manage(&payer, payer.open(DEPOSIT + 1)).await.assert(402, "amount_exceeds_deposit");
        let reply = fixture.reply(&payer, payer.open(PRICE - 1), &body(&json!({}), true)).await;
        reply.assert(402, "insufficient_balance");
        // Nobody who cannot pay: checked before anything is sent.
        let poor = Payer::prepare(Agent::random(), fixture.challenge().await, DEPOSIT);
        fixture.manage(&poor, poor.open(PRICE)).await.assert(402, "verification_failed");
        for payer in [&small, &payer, &poor] {
            unknown(&fixture, payer).await;
        }
        assert_eq!((chain.broadcasts(), fixture.upstream.observed().requests), (sent, 0));
        fixture.server.finish(chain).await;
    });
}

#[test]
fn attack_13_a_mixed_case_id_is_the_same_channel() {
    run(on_every_engine(async |fixture| {
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        let id = format!("{:#x}", payer.id);
        let mut payload = payer.voucher(2 * PRICE);
        payload["channelId"] = json!(format!("0x{}", id[2..].to_uppercase()));
        for field in ["payer", "token", "salt", "expiringNonceHash"] {
            let text = payload["descriptor"][field].as_str().expect("text")[2..].to_uppercase();
            payload["descriptor"][field] = json!(format!("0x{text}"));
        }
        let receipt = fixture.done(&payer, payload).await;
        assert_eq!((&receipt["channelId"], &receipt["reference"]), (&json!(id), &json!(id)));
        assert_eq!(fixture.server.count("SELECT count(*) FROM channels").await, 1);
        assert_eq!(fixture.channel_amounts(&payer).await.1, 2 * PRICE);
        assert_eq!(fixture.close(&payer).await, 0);
    }));
}

#[test]
fn attack_13_an_unrelated_top_up_adds_nothing() {
    run(on_every_engine(async |fixture| {
        let (payer, other) = (fixture.opened(DEPOSIT, PRICE).await, fixture.opened(DEPOSIT, PRICE).await);
        let before = (fixture.channel_amounts(&payer).await, fixture.channel_amounts(&other).await);
        let transfer =
            payer.agent.transaction(vec![agent::transfer(TOKENS[0], payer.challenge.recipient(), 500)]);
        let own = payer.top_up_transaction(500);
        let cases = [
            ("another channel's", 500, other.top_up_transaction(500)),
            ("a transfer", 500, payer.agent.sign(transfer).raw),
            ("another amount", 501, own.clone()),
            ("an open", DEPOSIT, fixture.payer(DEPOSIT).await.transaction),
            // Anybody may sign one, the reserve takes it only from the payer.
            ("signed by another", 500, {
                let mut thief = payer.clone();
                thief.agent = other.agent.clone();
                thief.top_up_transaction(500)
            }),
        ];
        for (what, additional, transaction) in cases {
            let reply = fixture.manage(&payer, payer.top_up_with(additional, &transaction)).await;
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (402, "verification_failed"),
                "{what}: {}",
                reply.text
            );
        }
        // One that was mined for the other channel already.
        let mined = other.top_up_transaction(700);
        send_raw(fixture.chain, &mined).await;
        fixture.manage(&payer, payer.top_up_with(700, &mined)).await.assert(402, "verification_failed");
        assert_eq!((fixture.channel_amounts(&payer).await, fixture.channel_amounts(&other).await), before);

        // The real one counts once, however often and by whichever way it comes.
        for _ in 0..3 {
            fixture.done(&payer, payer.top_up_with(500, &own)).await;
            assert_eq!(fixture.channel_amounts(&payer).await.0, DEPOSIT + 500);
        }
        fixture.done(&other, other.top_up_with(700, &mined)).await;
        assert_eq!(fixture.channel_amounts(&other).await.0, DEPOSIT + 700);
        assert_eq!((fixture.close(&payer).await, fixture.close(&other).await), (0, 0));
        assert_eq!(fixture.channel_amounts(&payer).await.4, Phase::Closed);
    }));
}

/// While a funding transaction is out the server can neither settle nor close: one that stays
/// valid for long would outlast the grace period after which its payer withdraws.
#[test]
fn attack_13_a_top_up_that_stays_open_does_not_block_the_close() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        for transaction in payer.lasting_top_ups(500) {
            fixture
                .manage(&payer, payer.top_up_with(500, &transaction))
                .await
                .assert(402, "verification_failed");
        }
        let out = "SELECT count(*) FROM channels WHERE pending_kind IS NOT NULL";
        assert_eq!(fixture.server.count(out).await, 0);
        assert_eq!(fixture.close(&payer).await, 0);
    });
}

/// The newest clients sign for four and a half minutes. The local chain takes half a minute only, so it is the chain
/// that refuses this one, and not the server.
#[test]
fn attack_33_a_funding_transaction_may_be_valid_for_some_minutes() {
    run(async {
        let fixture = Fixture::start().await;
        let payer = fixture.opened(DEPOSIT, PRICE).await;
        for (seconds, fits) in [(270, true), (290, true), (400, false)] {
            let transaction = payer.top_up_transaction_for(500, seconds);
            let answer = fixture.manage(&payer, payer.top_up_with(500, &transaction)).await;
            assert_eq!(!answer.text.contains("at most 300 seconds"), fits, "{seconds}: {}", answer.text);
        }
    });
}

#[test]
fn attack_12_sponsored_funding_counts_for_its_payer() {
    run(async {
        let fixture = Fixture::with_config(|config| {
            config.sponsor.private_key = Some(Secret::from(hex::encode(sponsor_key())));
            config.sponsor.max_fee = Money::from_micros(200_000);
        })
        .await;
        let challenge = fixture.challenge_at(&format!("{CHAT}?feePayer=true")).await;
        let payer = Payer::prepare(fixture.agent().await, challenge, DEPOSIT);
        let sponsored = |payload| {
            let path = format!("{CHAT}?feePayer=true");
            let request = fixture.server.request(Method::POST, &path);
            reply(request.header("authorization", payer.authorization(payload)))
        };
        for payload in [payer.open(PRICE), payer.top_up(500)] {
            let answer = sponsored(payload).await;
            assert_eq!(answer.status, 204, "{}", answer.text);
        }
        let wallet = format!("{:#x}", payer.agent.address());
        let reserved = async |who: &str| {
            sqlx::query_scalar::<_, i64>("SELECT reserved FROM sponsor_days WHERE payer = $1")
                .bind(who.to_owned())
                .fetch_one(&fixture.server.app.db.pool)
                .await
                .expect("a row of the day")
        };
        // Both transactions, once in the day's sum and once in the wallet's; of what was reserved
        // for them only what they cost is left.
        let cost = reserved(&wallet).await;

        assert!(cost > 0 && cost < 100_000, "{cost}");
        assert_eq!(reserved("").await, cost);
    });
}
