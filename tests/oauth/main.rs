//! The authorization server of the MCP server: clients that register or publish a document, wallets that sign what they
//! grant, codes and tokens, through the public API and against every way in which such servers were attacked.

mod authorizing;
mod fixture;
mod granting;
