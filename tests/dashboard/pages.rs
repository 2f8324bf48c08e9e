//! Pages for people.

use farebox_test_support::harness::{Server, reply, run};

#[test]
fn people_get_pages_and_programs_get_json() {
    run(async {
        let server = Server::start().await;
        let page = reply(server.get("/").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")).await;
        assert_eq!((page.status, page.header("vary")), (200, Some("accept")));
        for part in ["<h1>", "/dashboard", "/mpp", "/llms.txt", "claude mcp add"] {
            assert!(page.text.contains(part), "{part}");
        }
        for accept in ["*/*", "application/json"] {
            let index = reply(server.get("/").header("accept", accept)).await;
            assert_eq!(index.json()["payment"]["scheme"], "Payment", "{accept}");
        }
        let missing = reply(server.get("/nothing").header("accept", "text/html")).await;
        assert_eq!(missing.status, 404);
        assert!(missing.text.contains("<h1>There is nothing here</h1>"), "{}", missing.text);
        reply(server.get("/nothing")).await.assert(404, "not_found");
        for path in ["/site.css", "/favicon.svg", "/favicon.ico"] {
            assert_eq!(reply(server.get(path)).await.status, 200, "{path}");
        }
    });
}

#[test]
fn attack_76_pages_let_nothing_else_in() {
    run(async {
        let server = Server::with_config(|config| config.product.name = "A <b>\"shop\"</b>".into()).await;
        for path in ["/", "/nothing", "/api/v1/billing/success", "/api/v1/billing/cancel", "/dashboard"] {
            let page = reply(server.get(path).header("accept", "text/html")).await;
            let policy = page.header("content-security-policy").expect("a policy");
            for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-opener-policy", "same-origin-allow-popups"),
                ("x-frame-options", "DENY"),
            ] {
                assert_eq!(page.header(name), Some(value), "{path}");
            }
            assert!(page.header("permissions-policy").is_some(), "{path}");
            assert!(!page.text.contains("<b>"), "{path}");
        }
    });
}

#[test]
fn a_server_without_a_dashboard_says_so() {
    run(async {
        let server = Server::with_config(|config| config.dashboard.enabled = false).await;
        let page = reply(server.get("/dashboard").header("accept", "text/html")).await;
        assert_eq!(page.status, 404);
        reply(server.post("/api/v1/auth/challenge", "{}")).await.assert(404, "not_found");
        let landing = reply(server.get("/").header("accept", "text/html")).await;
        assert!(!landing.text.contains("/dashboard"), "{}", landing.text);
    });
}
