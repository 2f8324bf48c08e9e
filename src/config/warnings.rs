//! Warnings about a configuration that is valid and perhaps not what its operator means. Pure.

use axum::http::Uri;

use super::{Config, ProductConfig};

/// Returns the warnings of a configuration, each a sentence that begins with its setting.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let found = [product_name(config), models(config), operator_key(config), public_url(config)];
    found.into_iter().flatten().collect()
}

fn product_name(config: &Config) -> Option<String> {
    (config.product.name == ProductConfig::default().name && !config.wallet_auth.require_host).then(|| {
        "product.name is the default: wallet messages that name no host count at every server of that name; \
         set your own, or wallet_auth.require_host"
            .into()
    })
}

fn models(config: &Config) -> Option<String> {
    config.models.is_empty().then(|| {
        "models is empty: no chat is sold, only previews and keys; add upstreams and models to sell it".into()
    })
}

fn operator_key(config: &Config) -> Option<String> {
    (!config.models.is_empty() && config.sessions.operator_key.is_none()).then(|| {
        "sessions.operator_key is not set: agents cannot pay for chat from channels (POST /mpp/chat/completions \
         answers 404); set the private key of the account that settles them"
            .into()
    })
}

/// A public address elsewhere leads through a proxy; one on this machine leads to the listener.
fn public_url(config: &Config) -> Option<String> {
    let url: Uri = config.server.public_url.parse().ok()?;
    let host = url.host()?.trim_matches(['[', ']']);
    let is_local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
    let listen = config.server.listen;
    (is_local && port != listen.port()).then(|| {
        format!(
            "server.public_url is {}, and the server listens on {listen}: the links and challenges that it \
             publishes lead elsewhere; set server.public_url to the address that clients use",
            config.server.public_url
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;

    fn settled() -> Config {
        let mut config = Config::default();
        config.product.name = "Example".into();
        config.models = vec![ModelConfig::default()];
        config.sessions.operator_key = Some(format!("0x{}", "11".repeat(32)).into());
        config.server.public_url = "https://api.example.com".into();
        config
    }

    /// Begins of the warnings of a settled configuration after a change.
    fn found(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = settled();
        change(&mut config);
        let first_word = |warning: &String| warning.split(' ').next().unwrap_or_default().to_owned();
        warnings(&config).iter().map(first_word).collect()
    }

    #[test]
    fn each_doubtful_setting_is_named_and_no_other() {
        assert!(found(|_| {}).is_empty());
        assert_eq!(found(|config| config.product = ProductConfig::default()), ["product.name"]);
        let with_host = found(|config| {
            config.product = ProductConfig::default();
            config.wallet_auth.require_host = true;
        });
        assert!(with_host.is_empty());
        assert_eq!(found(|config| config.models.clear()), ["models"]);
        assert_eq!(found(|config| config.sessions.operator_key = None), ["sessions.operator_key"]);
    }

    #[test]
    fn a_public_address_on_this_machine_is_the_listener() {
        let listen = Config::default().server.listen.port();
        for (url, is_doubtful) in [
            (format!("http://localhost:{listen}"), false),
            (format!("http://127.0.0.1:{listen}"), false),
            (format!("http://[::1]:{}", listen + 1), true),
            ("http://localhost".into(), true),
            (format!("http://127.0.0.1:{}", listen + 1), true),
            ("https://api.example.com".into(), false),
            ("http://10.0.0.7:9000".into(), false),
        ] {
            let expected: &[&str] = if is_doubtful { &["server.public_url"] } else { &[] };
            assert_eq!(found(|config| config.server.public_url.clone_from(&url)), expected, "{url}");
        }
    }
}
