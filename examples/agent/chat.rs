//! A streamed chat, paid chunk by chunk from a payment channel.

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use mpp::client::{Fetch as _, TempoSessionProvider};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// Purchase, as the server's last receipt states it.
pub struct Chat {
    pub text: String,
    pub chunks: usize,
    pub vouchers: usize,
    pub receipt: Value,
}

/// Opens a channel with the first request, answers each call for a voucher
/// while the answer streams in, and reads the receipt at its end.
pub async fn stream(
    http: &Client,
    wallet: &TempoSessionProvider,
    url: &str,
    model: &str,
    prompt: &str,
) -> Result<Chat> {
    let answer = http
        .post(url)
        .header("Accept-Payment", "tempo/session")
        .json(&json!({
            "model": model,
            "stream": true,
            "messages": [{"role": "user", "content": prompt}],
        }))
        .send_with_payment(wallet)
        .await?;
    ensure!(answer.status() == StatusCode::OK, "expected 200, got {}", answer.status());
    let mut chat = Chat { text: String::new(), chunks: 0, vouchers: 0, receipt: Value::Null };
    let mut body = answer.bytes_stream();
    let mut buffer = Vec::new();
    while let Some(piece) = body.next().await {
        buffer.extend_from_slice(&piece?);
        while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = buffer.drain(..end + 2).collect();
            let event = std::str::from_utf8(&event).context("server-sent events are UTF-8")?;
            chat.take(http, wallet, url, event).await?;
        }
    }
    Ok(chat)
}

impl Chat {
    async fn take(
        &mut self,
        http: &Client,
        wallet: &TempoSessionProvider,
        url: &str,
        event: &str,
    ) -> Result<()> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let (name, data) = (field("event").unwrap_or("message"), field("data").unwrap_or_default());
        if name == "payment-need-voucher" {
            self.vouchers += 1;
        }
        if name == "payment-receipt" {
            self.receipt = serde_json::from_str(data)?;
        }
        if let Some(paying) = wallet.stream_event(http, url, name, data) {
            paying.await?;
            return Ok(());
        }
        if let Ok(chunk) = serde_json::from_str::<Value>(data) {
            ensure!(chunk["error"].is_null(), "the stream failed: {}", chunk["error"]["message"]);
            if let Some(text) =
                chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty())
            {
                self.chunks += 1;
                self.text.push_str(text);
            }
        }
        Ok(())
    }
}
