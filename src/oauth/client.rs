//! Clients: programs that ask a wallet for access. Pure.
//!
//! A client is known in one of three ways: by a document that it publishes under its `client_id` (Client ID
//! Metadata Document), by such a document in this server's configuration, or by a registration (RFC 7591),
//! whose content is sealed in the `client_id` itself. Nobody vouches for a registration.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::{Host, Url};

use super::redirect::{RedirectError, RedirectKind, RedirectUri};
use crate::id::Timestamp;
use crate::seal::Sealer;

/// Beginning of the `client_id` of a registration.
const REGISTERED: &str = "reg_";
/// Label of registrations under the seal.
const LABEL: &str = "client";
/// Redirect URIs of a registration, and bytes of all of them: they are in its `client_id`, and so in every URL.
const MAX_REDIRECTS: usize = 10;
const MAX_REDIRECT_BYTES: usize = 2048;
/// Longest name that is shown, in characters.
const MAX_NAME: usize = 60;
/// Longest `client_id` that is read, in bytes.
pub const MAX_CLIENT_ID: usize = 8 << 10;

/// Way in which a client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOrigin {
    /// It registered itself.
    Registered,
    /// By the document at its `client_id`: its own claim as well.
    Document,
    /// By the configuration: the operator vouches for it.
    Pinned,
}

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OauthClient {
    pub client_id: String,
    /// Name for people. Its own claim, without characters that would disguise it.
    pub name: String,
    pub redirect_uris: Vec<RedirectUri>,
    pub origin: ClientOrigin,
}

/// Metadata of a client as it is registered or published (RFC 7591, section 2): as far as this server reads it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClientMetadata {
    pub client_id: Option<String>,
    pub client_name: Option<String>,
    pub redirect_uris: Vec<String>,
    pub grant_types: Option<Vec<String>>,
    pub response_types: Option<Vec<String>>,
    pub token_endpoint_auth_method: Option<String>,
}

/// Reason that metadata make no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("redirect_uris: {0}")]
    Redirect(#[from] RedirectError),
    #[error("redirect_uris: name 1 to 10 redirect URIs, of at most 2048 bytes together")]
    Redirects,
    #[error(
        "grant_types and response_types: a client here uses authorization_code with the response type code"
    )]
    Flow,
    #[error(
        "token_endpoint_auth_method: clients have no secret here; leave it out, or publish \"none\" in the document"
    )]
    Authentication,
    #[error("client metadata are a JSON object, with lists of texts (RFC 7591)")]
    NotJson,
    #[error("the document's client_id is not the URL that it was read from")]
    OtherClientId,
}

/// Content of a registration, under the seal.
#[derive(Debug, Serialize, Deserialize)]
struct SealedRegistration {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "r")]
    redirect_uris: Vec<String>,
    /// Milliseconds, and a random part: each registration is another client.
    #[serde(rename = "t")]
    at: i64,
    #[serde(rename = "x")]
    nonce: String,
}

impl OauthClient {
    /// Registers a client: its content becomes its `client_id`.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn register(
        sealer: &Sealer,
        metadata: &ClientMetadata,
        schemes: &[String],
        nonce: &str,
        now: Timestamp,
    ) -> Result<Self, MetadataError> {
        let redirect_uris = metadata.redirects(schemes)?;
        let name = shown_name(metadata.client_name.as_deref().unwrap_or_default());
        let texts = redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect();
        let content = SealedRegistration {
            name: name.clone(),
            redirect_uris: texts,
            at: now.millis(),
            nonce: nonce.into(),
        };
        let client_id = format!("{REGISTERED}{}", sealer.seal(LABEL, &content));
        Ok(Self { client_id, name, redirect_uris, origin: ClientOrigin::Registered })
    }

    /// Returns the client that registered with this `client_id`.
    #[must_use]
    pub fn registered(sealer: &Sealer, client_id: &str, schemes: &[String]) -> Option<Self> {
        let content: SealedRegistration = sealer.open(LABEL, client_id.strip_prefix(REGISTERED)?)?;
        let redirect_uris = parse_all(&content.redirect_uris, schemes).ok()?;
        let origin = ClientOrigin::Registered;
        Some(Self { client_id: client_id.to_owned(), name: content.name, redirect_uris, origin })
    }

    /// Reads the document that was found at a `client_id`.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn of_document(client_id: &Url, document: &[u8], schemes: &[String]) -> Result<Self, MetadataError> {
        let metadata = ClientMetadata::parse(document)?;
        if metadata.client_id.as_deref() != Some(client_id.as_str()) {
            return Err(MetadataError::OtherClientId);
        }
        // It could register a secret or a key; a client that has one here expects to be asked for it.
        if metadata.token_endpoint_auth_method.as_deref().is_some_and(|method| method != "none") {
            return Err(MetadataError::Authentication);
        }
        Self::published(client_id.as_str(), &metadata, schemes)
    }

    /// Makes a client of metadata that were published under its `client_id`.
    ///
    /// # Errors
    /// [`MetadataError`].
    pub fn published(
        client_id: &str,
        metadata: &ClientMetadata,
        schemes: &[String],
    ) -> Result<Self, MetadataError> {
        Ok(Self {
            client_id: client_id.to_owned(),
            name: shown_name(metadata.client_name.as_deref().unwrap_or_default()),
            redirect_uris: metadata.redirects(schemes)?,
            origin: ClientOrigin::Document,
        })
    }

    /// Makes a client of what was stored when it was first authorized. URIs that this server accepts no longer are left
    /// out.
    #[must_use]
    pub fn stored(client_id: String, name: String, redirect_uris: &[String], schemes: &[String]) -> Self {
        let redirect_uris = redirect_uris.iter().filter_map(|text| RedirectUri::parse(text, schemes).ok());
        let redirect_uris = redirect_uris.collect();
        let is_url = document_url(&client_id).is_some();
        let origin = if is_url { ClientOrigin::Document } else { ClientOrigin::Registered };
        Self { client_id, name, redirect_uris, origin }
    }

    /// Returns the URI of a request if the client has it.
    #[must_use]
    pub fn redirect(&self, presented: &str, schemes: &[String]) -> Option<RedirectUri> {
        let presented = RedirectUri::parse(presented, schemes).ok()?;
        self.redirect_uris.iter().any(|registered| presented.matches(registered)).then_some(presented)
    }

    /// Returns the only URI of a client, which a request may leave out (RFC 6749, section 3.1.2.3).
    #[must_use]
    pub fn only_redirect(&self) -> Option<RedirectUri> {
        match &self.redirect_uris[..] {
            [only] if only.kind() != RedirectKind::Loopback => Some(only.clone()),
            _ => None,
        }
    }

    /// Returns the host that publishes the client's document.
    #[must_use]
    pub fn document_host(&self) -> Option<String> {
        document_url(&self.client_id)?.host_str().map(str::to_owned)
    }

    /// Returns the name, or a plain one for a client without.
    #[must_use]
    pub fn display_name(&self) -> String {
        match (self.name.as_str(), self.document_host()) {
            ("", Some(host)) => host,
            ("", None) => "Unnamed client".to_owned(),
            (name, _) => name.to_owned(),
        }
    }
}

impl ClientMetadata {
    /// Reads a JSON object. Members that this server does not know are passed over.
    ///
    /// # Errors
    /// [`MetadataError::NotJson`].
    pub fn parse(json: &[u8]) -> Result<Self, MetadataError> {
        // A list would be read as a structure as well.
        let members: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).map_err(|_| MetadataError::NotJson)?;
        serde_json::from_value(members.into()).map_err(|_| MetadataError::NotJson)
    }

    /// Returns the redirect URIs, of a client that asks for what this server does.
    fn redirects(&self, schemes: &[String]) -> Result<Vec<RedirectUri>, MetadataError> {
        let wants = |list: &Option<Vec<String>>, wanted: &str| {
            list.as_ref().is_none_or(|list| list.is_empty() || list.iter().any(|item| item == wanted))
        };
        if !wants(&self.grant_types, "authorization_code") || !wants(&self.response_types, "code") {
            return Err(MetadataError::Flow);
        }
        let bytes: usize = self.redirect_uris.iter().map(String::len).sum();
        if !(1..=MAX_REDIRECTS).contains(&self.redirect_uris.len()) || bytes > MAX_REDIRECT_BYTES {
            return Err(MetadataError::Redirects);
        }
        Ok(parse_all(&self.redirect_uris, schemes)?)
    }
}

fn parse_all(texts: &[String], schemes: &[String]) -> Result<Vec<RedirectUri>, RedirectError> {
    texts.iter().map(|text| RedirectUri::parse(text, schemes)).collect()
}

/// Returns the URL of a client's document if its `client_id` is one: https, with a path, in its one spelling, without
/// fragment, query, user and dot segments.
#[must_use]
pub fn document_url(client_id: &str) -> Option<Url> {
    let url = Url::parse(client_id).ok()?;
    let is_name = matches!(url.host(), Some(Host::Domain(_)));
    let fits = client_id.len() <= MAX_CLIENT_ID
        && url.scheme() == "https"
        && is_name
        && url.path() != "/"
        && url.fragment().is_none()
        && url.query().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.as_str() == client_id;
    fits.then_some(url)
}

/// Returns the name under which a client's row is stored.
#[must_use]
pub fn stored_id(client_id: &str) -> String {
    hex::encode(Sha256::digest(client_id.as_bytes()))
}

/// Returns a name as it may be shown: one line, without characters that are invisible or turn the text around.
fn shown_name(name: &str) -> String {
    let is_hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
    };
    let shown: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let shown = words.join(" ");
    shown.chars().filter(|c| !is_hidden(*c)).take(MAX_NAME).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn metadata(json: serde_json::Value) -> ClientMetadata {
        serde_json::from_value(json).expect("metadata")
    }

    fn register(json: serde_json::Value) -> Result<OauthClient, MetadataError> {
        let sealer = Sealer::new(&Secret::from("secret"), None);
        let made = OauthClient::register(&sealer, &metadata(json), &[], "n", Timestamp::from_millis(7))?;
        assert_eq!(OauthClient::registered(&sealer, &made.client_id, &[]).as_ref(), Some(&made));
        let foreign = Sealer::new(&Secret::from("other"), None);
        assert_eq!(OauthClient::registered(&foreign, &made.client_id, &[]), None);
        Ok(made)
    }

    #[test]
    fn a_registration_is_in_its_client_id() {
        let made = register(serde_json::json!({
            "client_name": "Codex", "redirect_uris": ["http://127.0.0.1:1/cb"], "grant_types": ["authorization_code", "x"],
            "token_endpoint_auth_method": "client_secret_post", "logo_uri": "https://x",
        }));
        assert_eq!(made.expect("registered").name, "Codex");
        for (wrong, error) in [
            (serde_json::json!({}), MetadataError::Redirects),
            (
                serde_json::json!({"redirect_uris": ["http://evil.example/"]}),
                MetadataError::Redirect(RedirectError::Scheme),
            ),
            (
                serde_json::json!({"redirect_uris": ["https://a.example/"], "grant_types": ["client_credentials"]}),
                MetadataError::Flow,
            ),
            (
                serde_json::json!({"redirect_uris": [format!("https://a.example/{}", "x".repeat(1024))]}),
                MetadataError::Redirect(RedirectError::NotUri),
            ),
        ] {
            assert_eq!(register(wrong), Err(error));
        }
    }

    #[test]
    fn attack_67_a_document_counts_at_its_own_url_only() {
        let url = |text: &str| document_url(text);
        let own = "https://client.example/oauth.json";
        let document = |json: serde_json::Value| {
            OauthClient::of_document(&url(own).expect("a URL"), json.to_string().as_bytes(), &[])
        };
        let redirect_uris = serde_json::json!(["https://client.example/cb"]);
        let good = document(serde_json::json!({"client_id": own, "redirect_uris": redirect_uris}));
        assert_eq!(good.expect("a client").display_name(), "client.example");
        for (id, method, error) in [
            (Some("https://evil.example/oauth.json"), "none", MetadataError::OtherClientId),
            (Some("https://client.example/oauth.json/"), "none", MetadataError::OtherClientId),
            (None, "none", MetadataError::OtherClientId),
            (Some(own), "private_key_jwt", MetadataError::Authentication),
            (Some(own), "client_secret_basic", MetadataError::Authentication),
        ] {
            let json = serde_json::json!({
                "client_id": id, "redirect_uris": redirect_uris, "token_endpoint_auth_method": method,
            });
            assert_eq!(document(json), Err(error));
        }
        for wrong in [
            "http://client.example/oauth.json",
            "https://client.example",
            "https://client.example/",
            "https://client.example/a/../oauth.json",
            "https://client.example/oauth.json#x",
            "https://client.example/oauth.json?x",
            "https://user@client.example/oauth.json",
            "https://CLIENT.example/oauth.json",
            "https://client.example:443/oauth.json",
            "https://127.0.0.1/oauth.json",
            "https://[::1]/oauth.json",
            " https://client.example/oauth.json",
            "reg_abc",
        ] {
            assert_eq!(url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn attack_66_names_cannot_disguise_themselves() {
        for (name, shown) in [
            ("Claude Code", "Claude Code"),
            (" Claude \n\t Code\u{0} ", "Claude Code"),
            ("\u{202e}edoC edualC\u{202c}", "edoC edualC"),
            ("Cla\u{200b}ude\u{feff}", "Claude"),
            ("\u{2066}\u{3164}", ""),
            ("<script>alert(1)</script>", "<script>alert(1)</script>"),
            ("日本語", "日本語"),
        ] {
            assert_eq!(shown_name(name), shown, "{name:?}");
        }
        assert_eq!(shown_name(&"x".repeat(500)).len(), MAX_NAME);
    }
}
