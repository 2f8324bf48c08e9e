//! The proxy's own JSON-RPC methods, for tests that run in another process. No fault applies to them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::faults::Rule;
use super::proxy::Proxy;

/// JSON-RPC 2.0: the parameters have another shape than the method wants.
const INVALID_PARAMS: i64 = -32602;

/// Pause between the answer to `farebox_stop` and the stop, so that the answer still gets out.
const STOP_DELAY: Duration = Duration::from_millis(50);

/// Answers one of the proxy's own methods; `None` for any other method. An error is `(code, message)`.
pub(super) fn answer(
    proxy: &Arc<Proxy>,
    method: &str,
    params: &Value,
) -> Option<Result<Value, (i64, String)>> {
    let answer = match method {
        "farebox_setFault" => serde_json::from_value::<Rule>(params[0].clone())
            .map(|rule| proxy.faults().set(rule))
            .map(|()| Value::Bool(true))
            .map_err(|error| (INVALID_PARAMS, error.to_string())),
        "farebox_clearFaults" => {
            proxy.faults().clear();
            Ok(Value::Bool(true))
        }
        "farebox_stop" => match params[0]["forMs"].as_u64() {
            Some(ms) => {
                tokio::spawn(stop_for(Arc::clone(proxy), Duration::from_millis(ms)));
                Ok(Value::Bool(true))
            }
            None => Err((INVALID_PARAMS, "give {\"forMs\": milliseconds}".to_owned())),
        },
        "farebox_status" => {
            Ok(json!({ "broadcasts": proxy.broadcasts(), "faults": proxy.faults().active() }))
        }
        _ => return None,
    };
    Some(answer)
}

async fn stop_for(proxy: Arc<Proxy>, duration: Duration) {
    sleep(STOP_DELAY).await;
    proxy.faults().stop();
    sleep(duration).await;
    proxy.faults().resume();
}
