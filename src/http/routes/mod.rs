//! Routes: every handler of the API, by the part of it that they belong to.

pub mod discovery;
pub mod management;
pub mod mpp;
pub mod oauth;
pub mod operator;
pub mod v1;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::State;

/// Routes of the public API. Their documentation is made from this very
/// table, so nothing of it is served undocumented or documented unserved.
pub fn api() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(discovery::index))
        .routes(routes!(mpp::preview))
        .routes(routes!(mpp::account))
        .routes(routes!(mpp::purchase::packs, mpp::purchase::keys))
        .routes(routes!(mpp::purchase::credits))
        .routes(routes!(mpp::chat::models))
        .routes(routes!(mpp::chat::completions))
        .routes(routes!(management::billing::credit_packs))
        .routes(routes!(management::billing::balance, management::billing::balance_by_post))
        .routes(routes!(management::billing::ledger, management::billing::ledger_by_post))
        .routes(routes!(management::billing::usage, management::billing::usage_by_post))
        .routes(routes!(management::billing::begin_checkout))
        .routes(routes!(management::billing::checkout_status))
        .routes(routes!(management::billing::receipt))
        .routes(routes!(management::billing::success))
        .routes(routes!(management::billing::cancel))
        .routes(routes!(management::billing::webhook))
        .routes(routes!(management::keys::list, management::keys::create_or_list))
        .routes(routes!(management::keys::revoke, management::keys::revoke_by_post, management::keys::update))
        .routes(routes!(management::keys::rotate))
        .routes(routes!(management::channels::list))
        .routes(routes!(management::models::list))
        .routes(routes!(management::grants::list, management::grants::list_by_post))
        .routes(routes!(
            management::grants::revoke,
            management::grants::revoke_by_post,
            management::grants::update
        ))
        .routes(routes!(v1::models::list))
        .routes(routes!(v1::models::detail))
        .routes(routes!(v1::models::detail_of_vendor))
        .routes(routes!(v1::account::credits))
        .routes(routes!(v1::account::key))
        .routes(routes!(v1::account::usage))
        .routes(routes!(v1::chat::completions))
        .routes(routes!(v1::preview::preview))
        .routes(routes!(operator::healthz))
        .routes(routes!(operator::readyz))
}
