# `make demo` and `make test` do all their own set-up on a machine that has Rust, Node.js and Python.

.DEFAULT_GOAL := help
# For scripts/advisories.sh alone: the program refuses variables of that form that it does not know.
unexport FAREBOX_ADVISORIES
.PHONY: help tools dashboard demo test check advisories latest bench eval-pii fuzz fmt contracts cargo

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

tools: ## install the local chain, the Solidity tools, the test clients and the models into ignored folders
	@scripts/tools.sh
	@scripts/models.sh

dashboard: ## build the pages of the dashboard, which the program holds
	@scripts/dashboard.sh

demo: cargo dashboard ## start everything, pay through every flow with the example agent, print the ledger, stop
	@scripts/demo.sh

test: cargo tools dashboard contracts ## run all tests
	cargo test

check: cargo tools dashboard ## what CI runs: format, lints, advisories, contracts, tests, fuzzing
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	@FAREBOX_ADVISORIES=$(FAREBOX_ADVISORIES) scripts/advisories.sh
	@scripts/contracts.sh format
	@$(MAKE) --no-print-directory test
	@scripts/fuzz.sh check

advisories: cargo ## look for known vulnerabilities in the dependencies; fails where it cannot look
	@CI= FAREBOX_ADVISORIES= scripts/advisories.sh

latest: cargo ## run the client tests against the newest versions of the clients, and say what broke
	@scripts/latest.sh

bench: cargo dashboard ## run the benchmarks
	@scripts/tools.sh chain clients litellm pii-peers
	@scripts/models.sh
	cargo bench --bench payments

fuzz: cargo ## feed the engine for personal data with broken texts, images and PDFs, a minute each
	@scripts/fuzz.sh

eval-pii: cargo ## compare what finds personal data with Presidio, on the same texts
	@scripts/eval-pii.sh

fmt: cargo ## format Rust and Solidity
	cargo fmt
	@scripts/tools.sh contracts
	@scripts/contracts.sh fmt

contracts: ## compile the contracts, compare the committed artifacts, run the contract tests
	@scripts/tools.sh contracts
	@scripts/contracts.sh check
	@scripts/contracts.sh test

cargo:
	@command -v cargo >/dev/null 2>&1 || { echo "make: cargo is missing: install Rust 1.95 or newer with rustup" >&2; exit 1; }
