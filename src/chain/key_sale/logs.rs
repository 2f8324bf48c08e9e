//! Sales, read from a contract's logs.
//!
//! A list of logs is easily wrong: a node that is behind leaves out the newest,
//! a load balancer in front of several nodes mixes their answers. So every log
//! is looked up again in its transaction's receipt, and the contract counts its
//! sales, which shows whether the list is complete ([`Chain::sale_count`]).
//!
//! A sale is paid only if its payment stands right behind it: the token's transfer of that amount from the
//! buyer to the payee. A payee's receive policy (TIP-1028) can hold a transfer back that succeeds.

use std::collections::BTreeMap;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, Bytes};
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent as _;
use tempo_alloy::contracts::precompiles::ITIP20;

use super::contract::{KeySale, KeySaleV1};
use super::{SaleKey, SaleTerms, SaleVersion, money, number};
use crate::chain::{Chain, ChainError, ChainReceipt, held_back};
use crate::money::Money;

const LOGS: &str = "eth_getLogs";
const INVALID_LOGS: ChainError = ChainError::InvalidAnswer { method: LOGS };

/// Logs of a contract in one transaction, in order, as a node listed them.
#[derive(Debug, Clone)]
pub struct TransactionLogs {
    pub block: u64,
    pub transaction: B256,
    logs: Vec<Log>,
}

/// One log of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleLog {
    pub block: u64,
    /// Index of the log in the block.
    pub log_index: u64,
    pub transaction: B256,
    /// Index of the log among the contract's logs in the transaction, from 0. It
    /// stays the same should the transaction move to another block.
    pub ordinal: usize,
    /// The sale; `None` for an event that is none, as of a contract that was closed.
    pub sale: Option<Sale>,
}

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Wallet that paid.
    pub buyer: Address,
    /// Wallet that gets the credit.
    pub owner: Address,
    pub amount: Money,
    /// The key that was bought; `None` for a top-up.
    pub key: Option<SaleKey>,
    pub payment: SalePayment,
}

/// Payment of a purchase, as its receipt tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SalePayment {
    /// The payee has received the amount.
    Received,
    /// The payee's receive policy holds it back, at a guard that gave this receipt.
    HeldBack(Bytes),
    /// The receipt holds no payment.
    Missing,
}

impl Chain {
    /// The logs of a sale from one block to another, both included, by transaction and in order.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable, or its logs contradict each other.
    pub async fn sale_logs(
        &self,
        sale: Address,
        from: u64,
        to: u64,
    ) -> Result<Vec<TransactionLogs>, ChainError> {
        let filter = Filter::new().address(sale).from_block(from).to_block(to);
        let mut logs = BTreeMap::new();
        for log in self.call(LOGS, self.provider.get_logs(&filter)).await? {
            let place = log.block_number.zip(log.log_index);
            let place = place.filter(|(block, _)| (from..=to).contains(block)).ok_or(INVALID_LOGS)?;
            // The same log twice is one log; two at one place contradict each other.
            if logs.insert(place, log.clone()).is_some_and(|other| other != log) {
                return Err(INVALID_LOGS);
            }
        }
        let mut transactions: Vec<TransactionLogs> = Vec::new();
        for ((block, _), log) in logs {
            let transaction = log.transaction_hash.filter(|_| !log.removed).ok_or(INVALID_LOGS)?;
            match transactions.last_mut().filter(|last| last.transaction == transaction) {
                Some(last) => last.logs.push(log),
                None => transactions.push(TransactionLogs { block, transaction, logs: vec![log] }),
            }
        }
        Ok(transactions)
    }

    /// The logs of a sale in one transaction, each found again in its receipt.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable, or its logs and receipts disagree.
    pub async fn sales(
        &self,
        sale: Address,
        terms: &SaleTerms,
        listed: &TransactionLogs,
    ) -> Result<Vec<SaleLog>, ChainError> {
        let receipt = self.receipt(listed.transaction).await?.ok_or(INVALID_LOGS)?;
        if !receipt.status() {
            return Err(INVALID_LOGS);
        }
        let find = |log: &Log| {
            if receipt.block_hash() != log.block_hash {
                return Err(INVALID_LOGS);
            }
            let log_index = log.log_index.ok_or(INVALID_LOGS)?;
            let mut own = receipt.inner.logs().iter().filter(|own| own.address() == sale);
            let ordinal = own.position(|own| own.log_index == log.log_index && own.inner == log.inner);
            Ok(SaleLog {
                block: listed.block,
                log_index,
                transaction: listed.transaction,
                ordinal: ordinal.ok_or(INVALID_LOGS)?,
                sale: parse(log, terms, &receipt)?,
            })
        };
        listed.logs.iter().map(find).collect()
    }

    /// The buyer of a key of the first version, found by `is_key` among the logs of a transaction; `None` while the
    /// node knows no such transaction, or no such log in it.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn buyer_of_key_v1(
        &self,
        transaction: B256,
        is_key: impl Fn(Address, B256, Address) -> bool,
    ) -> Result<Option<Address>, ChainError> {
        let Some(receipt) = self.receipt(transaction).await?.filter(ChainReceipt::status) else {
            return Ok(None);
        };
        Ok(receipt.inner.logs().iter().find_map(|log| {
            let bought = KeySaleV1::KeyBought::decode_log(&log.inner).ok()?;
            is_key(log.address(), bought.keyHash, bought.owner).then_some(bought.buyer)
        }))
    }
}

/// The sale of a log, if it is one.
fn parse(log: &Log, terms: &SaleTerms, receipt: &ChainReceipt) -> Result<Option<Sale>, ChainError> {
    let (buyer, owner, amount, key) = if let Ok(topped_up) = KeySale::ToppedUp::decode_log(&log.inner) {
        (topped_up.buyer, topped_up.owner, topped_up.amount, None)
    } else {
        match terms.version {
            SaleVersion::V1 => {
                let Ok(bought) = KeySaleV1::KeyBought::decode_log(&log.inner) else { return Ok(None) };
                (bought.buyer, bought.owner, bought.amount, Some((bought.keyHash, bought.pack)))
            }
            SaleVersion::V2 => {
                let Ok(bought) = KeySale::KeyBought::decode_log(&log.inner) else { return Ok(None) };
                (bought.owner, bought.owner, bought.amount, Some((bought.keyHash, bought.pack)))
            }
        }
    };
    let key = key.map(|(hash, pack)| Ok(SaleKey { hash, pack: number(pack)? })).transpose()?;
    let paid = receipt.inner.logs().iter().find(|next| next.log_index == log.log_index.map(|at| at + 1));
    let received = paid.filter(|next| next.address() == terms.token).is_some_and(|next| {
        ITIP20::Transfer::decode_log(&next.inner)
            .is_ok_and(|moved| moved.from == buyer && moved.to == terms.payee && moved.amount == amount)
    });
    let payment = if received {
        SalePayment::Received
    } else {
        let mut blocked = held_back(receipt, terms.token, terms.payee);
        let own = blocked
            .find(|blocked| blocked.amount == amount && blocked.payer.is_none_or(|payer| payer == buyer));
        own.map_or(SalePayment::Missing, |blocked| SalePayment::HeldBack(blocked.claim))
    };
    Ok(Some(Sale { buyer, owner, amount: money(amount)?, key, payment }))
}
