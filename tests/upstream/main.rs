//! The chat upstreams through real sockets, against the scripted upstream and
//! against servers that send raw bytes.

mod answers;
mod cancel;
mod fallback;
mod fixture;
mod hostile;
mod limits;
