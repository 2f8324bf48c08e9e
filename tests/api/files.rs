//! Files in previews that are paid per request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_test_support::agent::authorization;
use farebox_test_support::harness::{PREVIEW, Server, funded, reply, run, shared_chain};
use serde_json::json;

const PLAIN_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/plain.pdf");
const LOCKED_PDF: &[u8] = include_bytes!("../../crates/pii/tests/pdf/files/locked.pdf");

/// Files are read before money moves, so that an unreadable one needs no refund.
#[test]
fn a_file_is_examined_before_it_is_paid() {
    run(async {
        let server = Server::start().await;
        let chain = shared_chain().await;
        let agent = funded(chain).await;
        let body = |pdf: &[u8]| {
            json!({ "pdfs": [STANDARD.encode(pdf)], "piiConfig": { "pdf": { "dpi": 36 } } }).to_string()
        };
        for (pdf, status) in [(LOCKED_PDF, 400), (PLAIN_PDF, 200)] {
            let body = body(pdf);
            let unpaid = reply(server.post(PREVIEW, &body)).await;
            assert_eq!(unpaid.status, 402, "{}", unpaid.text);
            let credential = agent.pull(&unpaid.challenge());
            let paying = || server.post(PREVIEW, &body).header("authorization", authorization(&credential));
            let answer = reply(paying()).await;
            assert_eq!(answer.status, status, "{}", answer.text);
            if status == 200 {
                assert!(
                    answer.json()["pdfs"][0]["entities"].as_array().is_some_and(|found| !found.is_empty())
                );
                assert!(answer.header("payment-receipt").is_some());
            } else {
                assert!(answer.text.contains("protected by a password"), "{}", answer.text);
                assert!(answer.challenges().is_empty());
            }
        }
        server.assert_ledger(chain, 1).await;
    });
}
