//! Peers that metering is compared with, each in a process of its own, on the same path from the
//! upstream: farebox's own requests, parsing and framing.
//!
//! `unmetered UPSTREAM` delivers every chunk without a charge: there is no ledger, and no switch
//! in farebox that would turn its off. `mpp-rs UPSTREAM CHANNELS` puts the metered SSE of the `mpp`
//! crate over its store in memory in between. Its channels stand in the store from the start, with
//! a voucher for more than any run takes, because it opens channels on a chain only. It looks at
//! no credential and, having no chain, not at the escrow: what it does per chunk is all it does.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::Address;
use anyhow::{Result, bail};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use farebox::config::PrivacyMode;
use farebox::http::sse;
use farebox::id::Timestamp;
use farebox::services::chat::{
    AnswerHead, Catalog, ChatRequest, ChunkStream, Privacy, RequestLimits, Upstreams,
};
use farebox::services::pii::Examiner;
use futures_util::StreamExt as _;
use mpp::protocol::methods::tempo::session_method::{ChannelState, InMemoryChannelStore};
use mpp::server::sse::{ServeOptions, serve};
use tokio::net::TcpListener;

use super::{CHAT, FUNDS, model, upstream};
use crate::program::end_with_parent;

/// Names the channel of a request to a peer.
pub const CHANNEL: &str = "x-channel";

struct Peer {
    catalog: Catalog,
    upstreams: Upstreams,
    privacy: Privacy,
    /// Charges every chunk here, where there is one.
    store: Option<Arc<InMemoryChannelStore>>,
}

pub fn run_unmetered(arguments: &[&str]) -> Result<()> {
    let [address] = arguments else { bail!("usage: unmetered UPSTREAM") };
    run(address, None)
}

pub fn run_mpp_rs(arguments: &[&str]) -> Result<()> {
    let [address, channels] = arguments else { bail!("usage: mpp-rs UPSTREAM CHANNELS") };
    let store = InMemoryChannelStore::new();
    for number in 0..channels.parse()? {
        let id = channel(number);
        store.insert(&id.clone(), funded(id));
    }
    run(address, Some(Arc::new(store)))
}

fn run(address: &str, store: Option<Arc<InMemoryChannelStore>>) -> Result<()> {
    end_with_parent();
    let address: SocketAddr = address.parse()?;
    let models = [model()];
    let peer = Peer {
        catalog: Catalog::new(&models),
        upstreams: Upstreams::new(&[upstream(address)], &models)?,
        privacy: Privacy::new(Examiner::without_models(), PrivacyMode::Off),
        store,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        // As farebox does.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, Router::new().route(CHAT, post(complete)).with_state(Arc::new(peer))).await?;
        Ok(())
    })
}

async fn complete(State(peer): State<Arc<Peer>>, headers: HeaderMap, body: String) -> Response {
    let Ok(chat) = ChatRequest::parse(&body, &peer.catalog, RequestLimits::default()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(chat) = chat.protect(&peer.privacy).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(chunks) = peer.upstreams.stream(&chat, &AnswerHead::new(Timestamp::now())).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let body = match &peer.store {
        None => Body::from_stream(chunks.map(|chunk| chunk.map(|chunk| sse::data(&[chunk.data])))),
        Some(store) => metered(store, &headers, chunks),
    };
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The metering of the `mpp` crate.
fn metered(store: &Arc<InMemoryChannelStore>, headers: &HeaderMap, chunks: ChunkStream) -> Body {
    let id = headers.get(CHANNEL).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let values = chunks.filter_map(|chunk| async { String::from_utf8(chunk.ok()?.data.to_vec()).ok() });
    let events = serve(ServeOptions {
        store: Arc::clone(store) as _,
        channel_id: id.to_owned(),
        challenge_id: "bench".to_owned(),
        tick_cost: 1,
        generate: values.boxed(),
        poll_interval_ms: 100,
        min_voucher_delta: 0,
        before_charge: None,
    });
    Body::from_stream(events.map(|event| Ok::<_, std::convert::Infallible>(Bytes::from(event))))
}

/// The id of the `number`th channel of a peer.
pub fn channel(number: usize) -> String {
    format!("0x{number:064x}")
}

fn funded(channel_id: String) -> ChannelState {
    let funds = FUNDS.unsigned_abs().into();
    ChannelState {
        channel_id,
        chain_id: super::CHAIN_ID,
        escrow_contract: Address::repeat_byte(1),
        payer: Address::repeat_byte(2),
        payee: Address::repeat_byte(3),
        token: Address::repeat_byte(4),
        settlement_route: None,
        authorized_signer: Address::repeat_byte(2),
        deposit: funds,
        settled_on_chain: 0,
        highest_voucher_amount: funds,
        highest_voucher_signature: Some(vec![7; 65]),
        spent: 0,
        units: 0,
        finalized: false,
        closing: false,
        pending_close: None,
        close_requested_at: 0,
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    }
}
