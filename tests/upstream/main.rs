//! The chat upstreams through real sockets, against the scripted upstream, against
//! servers that send raw bytes, and against doubles of vendors' servers.

mod answers;
mod balance;
mod cancel;
mod doubles;
mod fallback;
mod fixture;
mod hostile;
mod keys;
mod kinds;
mod limits;
mod retries;
