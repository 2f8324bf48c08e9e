//! The dashboard, and the sign-in of people in browsers.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, host_of};

/// Dashboard in the browser.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardConfig {
    /// False if this server has no pages for people but those of payments and consent.
    pub enabled: bool,
    /// Origin of the dashboard; `server.public_url` unless set. Cookies count there alone.
    pub public_url: Option<String>,
    /// Time after which a session that is not used ends, in minutes.
    pub idle_minutes: u32,
    /// Time after which a session ends however it is used, in hours.
    pub session_hours: u32,
    /// Requests that the sessions of one wallet may make in a minute.
    pub session_rpm: u32,
    /// Wallets that see the operator's pages.
    pub admins: Vec<Address>,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            public_url: None,
            idle_minutes: 8 * 60,
            session_hours: 24,
            session_rpm: 600,
            admins: Vec::new(),
        }
    }
}

impl DashboardConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key: &str, reason: String| Err(ConfigError::invalid(key, reason));
        if let Some(url) = &self.public_url
            && (url.ends_with('/') || host_of(url).is_none())
        {
            let reason = format!(
                "\"{url}\" is not an origin; write it as https://platform.example.com, without a path"
            );
            return bad("dashboard.public_url", reason);
        }
        for (key, number, most) in [
            ("dashboard.idle_minutes", self.idle_minutes, 30 * 24 * 60),
            ("dashboard.session_hours", self.session_hours, 30 * 24),
            ("dashboard.session_rpm", self.session_rpm, 60_000),
        ] {
            if !(1..=most).contains(&number) {
                return bad(key, format!("must be from 1 to {most}"));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Returns the address of a page of the dashboard, for links on this server's pages; `None` without a dashboard. `path`
    /// is empty or begins with a slash.
    #[must_use]
    pub fn dashboard_link(&self, path: &str) -> Option<String> {
        let origin = self.dashboard.public_url.as_deref().unwrap_or_default();
        self.dashboard.enabled.then(|| format!("{origin}/dashboard{path}"))
    }

    /// Returns the origin of the dashboard.
    #[must_use]
    pub fn dashboard_url(&self) -> &str {
        self.dashboard.public_url.as_deref().unwrap_or(&self.server.public_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        DashboardConfig::default().validate().expect("valid");
        let dashboard = DashboardConfig::default;
        for (wrong, key) in [
            (DashboardConfig { public_url: Some("https://x.example/".into()), ..dashboard() }, "public_url"),
            (DashboardConfig { public_url: Some("x.example".into()), ..dashboard() }, "public_url"),
            (DashboardConfig { idle_minutes: 0, ..dashboard() }, "idle_minutes"),
            (DashboardConfig { session_hours: 721, ..dashboard() }, "session_hours"),
            (DashboardConfig { session_rpm: 0, ..dashboard() }, "session_rpm"),
        ] {
            let error = wrong.validate().expect_err("refused").to_string();
            assert!(error.starts_with(&format!("dashboard.{key}")), "{error}");
        }
    }
}
