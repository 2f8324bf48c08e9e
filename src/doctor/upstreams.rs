//! A look at one upstream: each of its keys, and the models that are sold from it. Nothing is asked that costs money.

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::{Diagnosis, doubtful, fine, wrong};
use crate::config::{Config, ModelConfig, Secret, UpstreamConfig};
use crate::outbound;

/// Upstream that is looked at.
struct Examined<'a> {
    /// The setting that a diagnosis is about.
    setting: String,
    upstream: &'a UpstreamConfig,
    client: Client,
}

/// Looks at an upstream.
pub async fn examine(config: &Config, upstream: &UpstreamConfig) -> Vec<Diagnosis> {
    let setting = format!("upstreams.{}", upstream.name);
    let client = match super::client(upstream.proxy.as_ref()) {
        Ok(client) => client,
        Err(error) => return vec![wrong(&setting, format!("no client can be made for it ({error})"))],
    };
    let examined = Examined { setting, upstream, client };
    let sold: Vec<&str> = config.models.iter().flat_map(|model| sold_from(model, upstream)).collect();
    let keys: Vec<Option<&Secret>> = upstream.keys().map(Some).collect();
    let keys = if keys.is_empty() { vec![None] } else { keys };
    let mut listed = None;
    for (index, key) in keys.iter().enumerate() {
        match examined.list(*key).await {
            Ok(list) => listed = listed.or(list),
            Err(why) if keys.len() == 1 => return vec![wrong(&examined.setting, why)],
            Err(why) => return vec![wrong(&examined.setting, format!("key {}: {why}", index + 1))],
        }
    }
    if upstream.kind.profile().list.is_of_deployments {
        return examined.deployments(keys[0], &sold).await;
    }
    let Some(listed) = listed else {
        return vec![doubtful(
            &examined.setting,
            "answers, but not with a list of models: they are not checked",
        )];
    };
    let list = &upstream.kind.profile().list;
    let has = |model: &str| listed.iter().any(|listed| list.names(listed, model));
    let missing: Vec<&str> = sold.into_iter().filter(|model| !has(model)).collect();
    examined.verdict(&missing)
}

/// Returns the names at an upstream under which a model is sold from it.
fn sold_from<'a>(
    model: &'a ModelConfig,
    upstream: &'a UpstreamConfig,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let sources = model.sources().filter(|source| source.name == upstream.name);
    sources.map(|source| source.model.as_deref().unwrap_or(&model.id))
}

impl Examined<'_> {
    /// Returns the names of its list of models; `None` if it has none.
    async fn list(&self, key: Option<&Secret>) -> Result<Option<Vec<String>>, String> {
        let list = &self.upstream.kind.profile().list;
        if let Some(path) = list.key_path {
            self.send(self.client.get(self.upstream.url(path, "")), None, key).await?;
        }
        let answer =
            self.send(self.client.get(self.upstream.url(list.path, "")), list.key_header, key).await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let answer: Value = answer.json().await.unwrap_or_default();
        let names = |models: &Vec<Value>| {
            models.iter().filter_map(|model| Some(model["id"].as_str()?.to_owned())).collect()
        };
        Ok(answer["data"].as_array().map(names))
    }

    /// Looks at deployments by a request without content, which each of them refuses.
    async fn deployments(&self, key: Option<&Secret>, sold: &[&str]) -> Vec<Diagnosis> {
        let profile = self.upstream.kind.profile();
        let mut missing = Vec::new();
        for deployment in sold {
            let url = self.upstream.url(profile.chat_path, deployment);
            let request = self.client.post(url).json(&json!({}));
            match self.send(request, profile.key_header, key).await {
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => missing.push(*deployment),
                Ok(_) => {}
                Err(why) => return vec![wrong(&self.setting, why)],
            }
        }
        self.verdict(&missing)
    }

    /// Sends a request; an error if it cannot be reached, or refuses the key or the version of the API.
    async fn send(
        &self,
        mut request: RequestBuilder,
        key_header: Option<&str>,
        key: Option<&Secret>,
    ) -> Result<Response, String> {
        for (name, value) in self.upstream.all_headers() {
            request = request.header(name, value);
        }
        if let Some(key) = key {
            request = outbound::with_key(request, key_header, key);
        }
        let answer = request.send().await;
        let answer = answer.map_err(|error| format!("cannot be reached ({})", error.without_url()))?;
        let status = answer.status().as_u16();
        let is_refused = self.upstream.kind.profile().list.key_refusals.contains(&status);
        match (is_refused, key) {
            (true, Some(_)) => Err(format!("refuses its api_key (status {status})")),
            (true, None) => Err(format!("wants an api_key (status {status})")),
            (false, _) => Ok(answer),
        }
    }

    fn verdict(&self, missing: &[&str]) -> Vec<Diagnosis> {
        if missing.is_empty() {
            return vec![fine(&self.setting, "answers, and has every model that is sold from it")];
        }
        vec![wrong(&self.setting, format!("does not list {}", missing.join(", ")))]
    }
}
