//! Tools of the MCP server: their definitions, and the endpoints and scopes that they belong to.

use std::sync::Arc;

use rmcp::model::Tool;
use serde_json::{Value, json};

use crate::config::Config;
use crate::oauth::Scope;

/// Definitions as `tools/list` has them; prices are filled in at the start.
const DEFINITIONS: &str = include_str!("tools.json");

/// Tool of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolName {
    ListModels,
    Chat,
    PiiPreview,
    CreateUpload,
    RedactFile,
    GetBalance,
    ListUsage,
    ListKeys,
    RevokeKey,
    TopUp,
    BuyCredits,
}

/// Endpoint that a client is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McpEndpoint {
    /// `/mcp`: with an access token, from the account's credits.
    Account,
    /// `/mpp/mcp`: without an account, paid by the call.
    PayPerCall,
}

impl ToolName {
    const ALL: [Self; 11] = [
        Self::ListModels,
        Self::Chat,
        Self::PiiPreview,
        Self::CreateUpload,
        Self::RedactFile,
        Self::GetBalance,
        Self::ListUsage,
        Self::ListKeys,
        Self::RevokeKey,
        Self::TopUp,
        Self::BuyCredits,
    ];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListModels => "list_models",
            Self::Chat => "chat",
            Self::PiiPreview => "pii_preview",
            Self::CreateUpload => "create_upload",
            Self::RedactFile => "redact_file",
            Self::GetBalance => "get_balance",
            Self::ListUsage => "list_usage",
            Self::ListKeys => "list_keys",
            Self::RevokeKey => "revoke_key",
            Self::TopUp => "top_up",
            Self::BuyCredits => "buy_credits",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str() == text)
    }

    /// Returns the scope that an access token needs for it; `None` if any token will do.
    #[must_use]
    pub const fn scope(self) -> Option<Scope> {
        match self {
            Self::ListModels | Self::BuyCredits => None,
            Self::Chat => Some(Scope::Chat),
            Self::PiiPreview | Self::CreateUpload | Self::RedactFile => Some(Scope::Pii),
            Self::GetBalance | Self::ListUsage | Self::ListKeys | Self::TopUp => Some(Scope::AccountRead),
            Self::RevokeKey => Some(Scope::KeysWrite),
        }
    }

    /// Returns true if the endpoint has it.
    #[must_use]
    pub const fn is_at(self, endpoint: McpEndpoint) -> bool {
        match self {
            Self::ListModels | Self::Chat | Self::PiiPreview => true,
            Self::BuyCredits => matches!(endpoint, McpEndpoint::PayPerCall),
            Self::CreateUpload
            | Self::RedactFile
            | Self::GetBalance
            | Self::ListUsage
            | Self::ListKeys
            | Self::RevokeKey
            | Self::TopUp => matches!(endpoint, McpEndpoint::Account),
        }
    }
}

/// Description of `chat` where each call is paid.
const PAID_CHAT: &str = "Ask an AI model. You pay ahead what the answer can cost at the most; `maxTokens` bounds it. What \
                         is not used is credit of the paying wallet.";

/// Definitions of the tools of both endpoints, in a fixed order.
#[derive(Debug, Clone)]
pub struct ToolCatalog {
    account: Arc<[(ToolName, Tool)]>,
    pay_per_call: Arc<[(ToolName, Tool)]>,
}

impl ToolCatalog {
    /// Reads the definitions, with the prices of a configuration.
    ///
    /// # Panics
    /// Never: a test reads the same definitions.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let packs = config.billing.packs.iter();
        let packs: Vec<String> =
            packs.map(|pack| format!("{} (${})", pack.id, pack.price.to_dollars())).collect();
        let tools: Vec<Tool> = serde_json::from_str(DEFINITIONS).expect("the definitions are valid");
        let named = tools.into_iter().map(|mut tool| {
            let name = ToolName::parse(&tool.name).expect("every definition has a tool");
            if let Some(description) = &mut tool.description {
                let price = format!("${}", config.pii.preview_price.to_dollars());
                *description = description.replace("{preview_price}", &price).into();
            }
            if name == ToolName::BuyCredits {
                let schema = Arc::make_mut(&mut tool.input_schema);
                schema["properties"]["packId"]["description"] = packs.join(", ").into();
            }
            (name, tool)
        });
        let all: Vec<(ToolName, Tool)> = named.collect();
        let at = |endpoint| all.iter().filter(move |(name, _)| name.is_at(endpoint)).cloned();
        let pay_per_call = at(McpEndpoint::PayPerCall).map(|(name, tool)| match name {
            ToolName::Chat => (name, paid_chat(tool)),
            _ => (name, tool),
        });
        Self { account: at(McpEndpoint::Account).collect(), pay_per_call: pay_per_call.collect() }
    }

    /// Returns the tools of an endpoint.
    pub fn at(&self, endpoint: McpEndpoint) -> impl Iterator<Item = (ToolName, &Tool)> {
        let tools = match endpoint {
            McpEndpoint::Account => &self.account,
            McpEndpoint::PayPerCall => &self.pay_per_call,
        };
        tools.iter().map(|(name, tool)| (*name, tool))
    }

    /// Returns the definition of a tool at an endpoint that has it.
    #[must_use]
    pub fn get(&self, endpoint: McpEndpoint, name: ToolName) -> Option<&Tool> {
        self.at(endpoint).find(|(defined, _)| *defined == name).map(|(_, tool)| tool)
    }
}

/// Returns `chat` as it is where each call is paid: nothing is read for it, and its result says what became of the money.
fn paid_chat(mut tool: Tool) -> Tool {
    tool.description = Some(PAID_CHAT.into());
    if let Some(Value::Object(properties)) = Arc::make_mut(&mut tool.input_schema).get_mut("properties") {
        properties.remove("urls");
    }
    if let Some(output) = &mut tool.output_schema
        && let Some(Value::Object(properties)) = Arc::make_mut(output).get_mut("properties")
    {
        for name in ["paidUsd", "wallet"] {
            properties.insert(name.into(), json!({ "type": "string" }));
        }
    }
    tool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_defined_and_the_list_is_short() {
        let catalog = ToolCatalog::new(&Config::default());
        for name in ToolName::ALL {
            let endpoints = [McpEndpoint::Account, McpEndpoint::PayPerCall].into_iter();
            let defined: Vec<&Tool> = endpoints.filter_map(|endpoint| catalog.get(endpoint, name)).collect();
            let tool = defined[0];
            assert!(tool.title.is_some() && tool.output_schema.is_some(), "{}", tool.name);
            assert!(tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint.is_some()));
            let description = tool.description.as_deref().unwrap_or_default();
            assert!(!description.is_empty() && !description.contains(['{', '}']), "{description}");
        }
        for endpoint in [McpEndpoint::Account, McpEndpoint::PayPerCall] {
            let tools: Vec<&Tool> = catalog.at(endpoint).map(|(_, tool)| tool).collect();
            assert!(tools.len() <= 10);
            let length = serde_json::to_string(&tools).expect("JSON").len();
            assert!(length < 10_000, "{length} bytes of every context that it is read into");
        }
    }
}
