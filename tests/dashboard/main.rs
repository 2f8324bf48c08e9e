//! People in browsers: sign-in, sessions, passkeys, the pages and what they follow.

mod attack_75_sign_in;
mod attack_76_cookies;
mod browser;
mod events;
mod fixture;
mod pages;
mod sessions;

use farebox_test_support::management;
