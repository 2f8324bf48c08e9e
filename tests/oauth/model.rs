//! Random interleavings of everything that happens to grants and tokens, on two instances, compared with a model that
//! knows only the rules: a token never outlives its grant, a family has one living refresh token, a code works once.

use std::sync::Arc;

use farebox::app::App;
use farebox::config::Config;
use farebox::db::Engine;
use farebox::id::{AccountId, Timestamp};
use farebox::keys::{self, KeyId, KeyLimits, KeysError};
use farebox::oauth::consent::GrantTerms;
use farebox::oauth::{
    AuthorizationRequest, CodeExchange, Consent, GrantError, Refresh, RequestParameters, Scope, Scopes,
};
use farebox_test_support::agent::Agent;
use farebox_test_support::db;
use farebox_test_support::harness::{Server, run, shared_chain};
use farebox_test_support::random::{self, Random};

use crate::fixture::{CALLBACK, Client, assert_audit};

const WALLETS: usize = 2;
const CLIENTS: usize = 2;
const STEPS: usize = 900;

/// One grant, as the rules see it.
struct GrantModel {
    key: KeyId,
    wallet: usize,
    client: usize,
    ends: Timestamp,
    revoked: bool,
}

struct CodeModel {
    text: String,
    client: Client,
    grant: usize,
    expires: Timestamp,
    used: bool,
    family: usize,
}

struct RefreshModel {
    text: String,
    grant: usize,
    family: usize,
    used: Option<Timestamp>,
    successor: Option<String>,
    deleted: bool,
}

struct AccessModel {
    text: String,
    grant: usize,
    family: usize,
    expires: Timestamp,
    deleted: bool,
}

struct Model {
    random: Random,
    now: Timestamp,
    wallets: Vec<(AccountId, String)>,
    clients: Vec<Client>,
    grants: Vec<GrantModel>,
    codes: Vec<CodeModel>,
    refreshes: Vec<RefreshModel>,
    accesses: Vec<AccessModel>,
    families: usize,
    /// How often what happened, so that a run cannot pass without doing anything.
    done: std::collections::BTreeMap<&'static str, usize>,
}

impl Model {
    fn pick(&mut self, below: usize) -> usize {
        usize::try_from(self.random.below(u64::try_from(below).expect("small"))).expect("small")
    }

    /// One of those, nearly always one of the last: most of the others have ended.
    fn late(&mut self, of: usize) -> usize {
        let mut back = 0;
        while back + 1 < of && self.pick(3) > 0 {
            back += 1;
        }
        of - 1 - back
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn is_living(&self, grant: usize) -> bool {
        let grant = &self.grants[grant];
        !grant.revoked && self.now < grant.ends
    }

    async fn step(&mut self, app: &Arc<App>) {
        let more = match self.pick(60) {
            0..=4 => 61_000,
            5 => 1_900_000,
            _ => 1_000 + i64::try_from(self.pick(20_000)).expect("small"),
        };
        self.now = self.now.checked_add_millis(more).expect("near");
        match self.pick(30) {
            0..=4 => self.authorize(app).await,
            5..=9 if !self.codes.is_empty() => self.exchange(app).await,
            10..=21 if !self.refreshes.is_empty() => self.refresh(app).await,
            22..=27 if !self.accesses.is_empty() => self.authenticate(app).await,
            28 if !self.refreshes.is_empty() => self.revoke_token(app).await,
            29 if !self.grants.is_empty() => self.revoke_grant(app).await,
            _ => {}
        }
    }

    async fn authorize(&mut self, app: &Arc<App>) {
        let (wallet, number) = (self.pick(WALLETS), self.pick(CLIENTS));
        let client = self.clients[number].again();
        let now = self.now;
        let known = app.oauth.client(&client.id, now, || Ok(())).await.expect("it registered");
        let redirect = app.oauth.redirect(&known, Some(CALLBACK)).expect("its own");
        let parameters = RequestParameters::of(client.parameters());
        let request = AuthorizationRequest::check(known, redirect, &parameters, app.oauth.resource());
        let request = &request.expect("honest");
        let ends = now.checked_add_millis(600_000 + i64::try_from(self.pick(9_000_000)).expect("small"));
        let terms = &GrantTerms {
            scopes: Scopes::from_iter([Scope::Chat]),
            limits: KeyLimits::default(),
            expires_at: ends.expect("near"),
        };
        let (account, owner) = &self.wallets[wallet];
        let consent = Consent { request, terms, account, owner };
        let granted = app.db.transaction(|mut tx| async move {
            let granted = app.oauth.grant(&mut tx, consent, now).await?;
            Ok::<_, GrantError>((tx, granted))
        });
        let granted = granted.await.expect("granted");
        app.keys.forget_cached(&granted.key);
        let living = (0..self.grants.len()).find(|grant| {
            self.grants[*grant].wallet == wallet
                && self.grants[*grant].client == number
                && self.is_living(*grant)
        });
        let grant = living.unwrap_or_else(|| {
            self.grants.push(GrantModel {
                key: granted.key.clone(),
                wallet,
                client: number,
                ends: terms.expires_at,
                revoked: false,
            });
            self.grants.len() - 1
        });
        assert_eq!(self.grants[grant].key, granted.key, "one living grant for a wallet and a client");
        self.grants[grant].ends = terms.expires_at;
        let expires = now.checked_add_millis(60_000).expect("near");
        self.families += 1;
        let (text, family) = (granted.code.expose().to_owned(), self.families);
        self.codes.push(CodeModel { text, client, grant, expires, used: false, family });
        self.count("authorize");
    }

    async fn exchange(&mut self, app: &Arc<App>) {
        let number = self.late(self.codes.len());
        let (now, living) = (self.now, self.is_living(self.codes[number].grant));
        let code = &mut self.codes[number];
        let exchange = CodeExchange {
            code: &code.text,
            client_id: &code.client.id,
            redirect_uri: Some(CALLBACK),
            code_verifier: &code.client.verifier,
            resource: &[],
        };
        let given = app.oauth.exchange(&exchange, now).await;
        if code.used {
            assert!(given.is_err(), "a code works once");
            let (grant, family) = (code.grant, code.family);
            if living {
                self.end_family(grant, family);
            }
            return self.count("code again");
        }
        assert_eq!(given.is_ok(), living && now < code.expires, "{given:?}");
        let Ok(tokens) = given else { return self.count("code refused") };
        code.used = true;
        let (grant, family) = (code.grant, code.family);
        self.take(grant, family, tokens.access.expose(), Some(tokens.refresh.expose()));
        self.count("code");
    }

    /// Remembers tokens that were given.
    fn take(&mut self, grant: usize, family: usize, access: &str, refresh: Option<&str>) {
        let expires = self.now.checked_add_millis(3_600_000).expect("near");
        let text = access.to_owned();
        self.accesses.push(AccessModel { text, grant, family, expires, deleted: false });
        if let Some(refresh) = refresh {
            let text = refresh.to_owned();
            self.refreshes.push(RefreshModel {
                text,
                grant,
                family,
                used: None,
                successor: None,
                deleted: false,
            });
        }
    }

    async fn refresh(&mut self, app: &Arc<App>) {
        let number = self.late(self.refreshes.len());
        let now = self.now;
        let (grant, family) = (self.refreshes[number].grant, self.refreshes[number].family);
        let living = self.is_living(grant);
        let client_id = self.clients[self.grants[grant].client].id.clone();
        let token = &mut self.refreshes[number];
        let refresh = Refresh { token: &token.text, client_id: &client_id, scope: None, resource: &[] };
        let given = app.oauth.refresh(&refresh, now).await;
        let age = token.used.map(|used| now.checked_millis_since(used).expect("near"));
        match age {
            _ if token.deleted || !living => {
                assert!(given.is_err(), "a token never outlives its grant");
                self.count("refresh refused");
            }
            None => {
                let tokens = given.expect("the first use");
                token.used = Some(now);
                token.successor = Some(tokens.refresh.expose().to_owned());
                self.take(grant, family, tokens.access.expose(), Some(tokens.refresh.expose()));
                self.count("refresh");
            }
            Some(age) => {
                let Some(successor) = self.unused_after(number, age < 60_000) else {
                    assert!(given.is_err(), "a used token");
                    self.end_family(grant, family);
                    return self.count("reuse");
                };
                let tokens = given.expect("a retry");
                assert_eq!(successor, tokens.refresh.expose(), "the unused one that it led to");
                self.take(grant, family, tokens.access.expose(), None);
                self.count(if age < 60_000 { "retry" } else { "late retry" });
            }
        }
    }

    /// The unused token that a used one led to: its successor, or soon after its use the end of the chain.
    fn unused_after(&self, used: usize, soon: bool) -> Option<String> {
        let mut token = &self.refreshes[used];
        loop {
            let successor = token.successor.as_ref().expect("it was used");
            token = self.refreshes.iter().find(|other| other.text == *successor).expect("it was given");
            if token.used.is_none() {
                return Some(token.text.clone());
            }
            if !soon {
                return None;
            }
        }
    }

    /// Ends a family, and with the last its grant.
    fn end_family(&mut self, grant: usize, family: usize) {
        let own = |token: &RefreshModel| token.grant == grant && token.family == family;
        self.refreshes.iter_mut().filter(|token| own(token)).for_each(|token| token.deleted = true);
        let access = self.accesses.iter_mut().filter(|token| token.grant == grant && token.family == family);
        access.for_each(|token| token.deleted = true);
        let now = self.now;
        let others = |token: &RefreshModel| token.grant == grant && !token.deleted && token.used.is_none();
        let pending = |code: &CodeModel| code.grant == grant && !code.used && now < code.expires;
        if !self.refreshes.iter().any(others) && !self.codes.iter().any(pending) {
            self.grants[grant].revoked = true;
        }
    }

    async fn authenticate(&mut self, app: &Arc<App>) {
        let number = self.late(self.accesses.len());
        let access = &self.accesses[number];
        let expected = !access.deleted && self.now < access.expires && self.is_living(access.grant);
        let found = app.oauth.authenticate(&access.text, self.now).await;
        assert_eq!(found.is_ok(), expected, "{found:?}");
        if let Ok(found) = found {
            assert_eq!(found.key.id, self.grants[access.grant].key);
        }
        self.count(if expected { "opens" } else { "opens nothing" });
    }

    async fn revoke_token(&mut self, app: &Arc<App>) {
        let number = self.late(self.refreshes.len());
        let (grant, family, deleted) = {
            let token = &self.refreshes[number];
            (token.grant, token.family, token.deleted)
        };
        let client_id = self.clients[self.grants[grant].client].id.clone();
        let text = self.refreshes[number].text.clone();
        app.oauth.revoke_token(&text, &client_id, self.now).await.expect("the database answers");
        if deleted {
            return;
        }
        self.end_family(grant, family);
        self.count("revoke token");
    }

    async fn revoke_grant(&mut self, app: &Arc<App>) {
        let grant = self.late(self.grants.len());
        let (key, now) = (self.grants[grant].key.clone(), self.now);
        let (owner, id) = (&self.wallets[self.grants[grant].wallet].1, &key);
        let revoked = app.db.transaction(|mut tx| async move {
            keys::revoke(&mut tx, owner, id, now).await?;
            Ok::<_, KeysError>((tx, ()))
        });
        revoked.await.expect("the database answers");
        app.keys.cancel_requests(&key);
        self.grants[grant].revoked = true;
        self.count("revoke grant");
    }
}

#[test]
fn grants_and_tokens_follow_their_rules_on_two_instances_and_through_restarts() {
    let configure = |config: &mut Config| {
        config.mcp.public_url = Some("https://mcp.example.com".into());
        config.mcp.token_rpm = 60_000;
    };
    run(async {
        let seed = random::seed(7);
        println!("FAREBOX_TEST_SEED={seed}");
        for database in db::engines().await {
            let rpc_url = shared_chain().await.rpc_url();
            let mut first = Server::on(database, &rpc_url, configure).await;
            let two = first.db.db.engine == Engine::Postgres;
            let second =
                async |first: &Server| Server::boot(first.db.shared().await, first.app.config.clone()).await;
            let mut other = if two { Some(second(&first).await) } else { None };
            let mut clients = Vec::new();
            for _ in 0..CLIENTS {
                clients.push(Client::registered(&first).await);
            }
            let wallet = |agent: Agent| {
                let address = format!("{:#x}", agent.address());
                (AccountId::wallet(&address).expect("an address"), address)
            };
            let mut model = Model {
                random: Random(seed),
                now: Timestamp::now(),
                wallets: (0..WALLETS).map(|_| wallet(Agent::random())).collect(),
                clients,
                grants: Vec::new(),
                codes: Vec::new(),
                refreshes: Vec::new(),
                accesses: Vec::new(),
                families: 0,
                done: std::collections::BTreeMap::new(),
            };
            for step in 0..STEPS {
                if step % 300 == 299 {
                    if let Some(mut other) = other.take() {
                        other.stop().await;
                    }
                    first = first.restart(|_| {}).await;
                    other = if two { Some(second(&first).await) } else { None };
                }
                let server = other.as_ref().filter(|_| step % 2 == 1).unwrap_or(&first);
                let app = Arc::clone(&server.app);
                model.step(&app).await;
            }
            for what in [
                "authorize",
                "code",
                "code again",
                "refresh",
                "retry",
                "late retry",
                "reuse",
                "opens",
                "opens nothing",
                "revoke token",
                "revoke grant",
            ] {
                assert!(model.done.contains_key(what), "{what} never happened: {:?}", model.done);
            }
            let doubled = "SELECT count(*) FROM (SELECT family FROM oauth_refresh_tokens WHERE used_at IS NULL \
                 GROUP BY key, family HAVING count(*) > 1) AS doubled";
            assert_eq!(first.count(doubled).await, 0, "a family has one living refresh token");
            assert_audit(&first).await;
            if let Some(mut other) = other {
                other.stop().await;
            }
            first.stop().await;
        }
    });
}
