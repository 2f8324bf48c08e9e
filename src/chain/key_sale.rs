//! The key sale (`contracts/src/KeySale.sol`): its deployment, its terms, and its sales.
//!
//! A list of logs is easily wrong: a node that is behind leaves out the newest,
//! a load balancer in front of several nodes mixes their answers. So every log
//! is looked up again in its transaction's receipt, and the contract counts its
//! events, which shows whether the list is complete ([`Chain::sale_count`]).

use std::collections::BTreeMap;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, Log};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolConstructor as _, SolEvent as _};
use tempo_alloy::primitives::transaction::Call;

use super::{Chain, ChainError, Fees, SendOutcome, SignedTransaction};
use crate::money::Money;
use contract::KeySale;

mod contract {
    alloy::sol! {
        /// The part of the contract that the server uses.
        contract KeySale {
            constructor(address token, address payee, uint256[] prices);

            event KeyBought(bytes32 indexed keyHash, address indexed owner, uint256 pack, uint256 amount, address buyer);
            event ToppedUp(address indexed owner, uint256 amount, address buyer);

            function buy(bytes32 keyHash, uint256 pack, address owner) external;
            function topUp(address owner, uint256 amount) external;
            function token() external view returns (address);
            function payee() external view returns (address);
            function firstBlock() external view returns (uint256);
            function packs() external view returns (uint256[] memory);
            function sales() external view returns (uint256);
        }
    }
}

/// `{abi, bytecode, deployedBytecode}` of the contract.
const ARTIFACT: &str = include_str!("../../contracts/artifacts/KeySale.json");
const LOGS: &str = "eth_getLogs";

/// Gas limit of a deployment, enough for twenty packs: Tempo asks 1,000 for each byte
/// of code, and 250,000 for each new slot of storage.
pub const DEPLOYMENT_GAS: u64 = 12_000_000;
/// Validity of a deployment in seconds: within the 30 that the chain allows
/// for expiring nonces.
pub const VALID_SECONDS: u64 = 25;

/// Terms of a sale's contract. They never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleTerms {
    pub token: Address,
    pub payee: Address,
    /// Block of the contract's deployment.
    pub first_block: u64,
    /// Prices of the packs; pack 1 costs the first.
    pub packs: Vec<Money>,
}

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    pub block: u64,
    /// Index of its log in the block.
    pub log_index: u64,
    pub transaction: B256,
    /// Index of its log among the contract's logs in the transaction, from 0. It
    /// stays the same should the transaction move to another block.
    pub ordinal: usize,
    /// Wallet that gets the credit.
    pub owner: Address,
    pub amount: Money,
    /// The key that was bought; `None` for a top-up.
    pub key: Option<SaleKey>,
}

/// A sold key, by the hash of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaleKey {
    pub hash: B256,
    pub pack: u64,
}

/// Failure of a deployment.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the deployment cannot be signed")]
    Signer,
    #[error("the chain refused the deployment: {0}")]
    Refused(String),
    #[error(
        "the deployment {0} failed on the chain: too little gas, or the token address is not a TIP-20 token"
    )]
    Failed(B256),
    #[error("the outcome of the deployment {0} is not known; look it up before you try again")]
    Unknown(B256),
}

/// The transaction data that deploys a sale.
#[must_use]
pub fn deployment(token: Address, payee: Address, packs: &[Money]) -> Bytes {
    let artifact: serde_json::Value =
        serde_json::from_str(ARTIFACT).expect("the artifact is a compiler's output");
    let code = artifact["bytecode"].as_str().expect("the artifact holds the bytecode");
    let mut data = alloy::hex::decode(code).expect("the bytecode is hex");
    let prices = packs.iter().map(|price| U256::from(u64::try_from(price.micros()).unwrap_or(0)));
    data.extend(KeySale::constructorCall { token, payee, prices: prices.collect() }.abi_encode());
    data.into()
}

/// The call that buys a key.
#[must_use]
pub fn buy_call(key: SaleKey, owner: Address) -> Bytes {
    KeySale::buyCall { keyHash: key.hash, pack: U256::from(key.pack), owner }.abi_encode().into()
}

/// The call that buys credit.
#[must_use]
pub fn top_up_call(owner: Address, amount: Money) -> Bytes {
    let amount = U256::from(u64::try_from(amount.micros()).unwrap_or(0));
    KeySale::topUpCall { owner, amount }.abi_encode().into()
}

impl Chain {
    /// Deploys a contract and waits for its block. `until` (Unix seconds) is the
    /// last moment at which that may happen. `fees` are without a price.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn deploy(
        &self,
        signer: &PrivateKeySigner,
        data: Bytes,
        fees: Fees,
        until: u64,
    ) -> Result<Address, DeployError> {
        // Twice the price: room for the base fee to rise while it is valid.
        let fees = Fees { max_fee_per_gas: self.gas_price().await?.saturating_mul(2), ..fees };
        let call = Call { to: TxKind::Create, value: U256::ZERO, input: data };
        let transaction = SignedTransaction::sign(signer, self.chain_id, call, &fees, until)
            .map_err(|_| DeployError::Signer)?;
        let hash = transaction.hash();
        match self.send(&transaction).await {
            SendOutcome::Mined(receipt) if receipt.status() => {
                receipt.contract_address().ok_or(DeployError::Failed(hash))
            }
            SendOutcome::Mined(_) => Err(DeployError::Failed(hash)),
            SendOutcome::Refused { reason } => Err(DeployError::Refused(reason)),
            SendOutcome::Unknown => Err(DeployError::Unknown(hash)),
        }
    }

    /// The terms of a sale.
    ///
    /// # Errors
    /// [`ChainError::InvalidAnswer`] for an address without one; any other when the node is
    /// unreachable.
    pub async fn sale_terms(&self, sale: Address) -> Result<SaleTerms, ChainError> {
        self.confirm().await?;
        let (block, _) = self.newest_block().await?;
        let first_block = self.call_view(block, sale, KeySale::firstBlockCall {}).await?;
        let packs = self.call_view(block, sale, KeySale::packsCall {}).await?;
        Ok(SaleTerms {
            token: self.call_view(block, sale, KeySale::tokenCall {}).await?,
            payee: self.call_view(block, sale, KeySale::payeeCall {}).await?,
            first_block: number(first_block)?,
            packs: packs.into_iter().map(money).collect::<Result<_, _>>()?,
        })
    }

    /// Number of purchases that a sale counted up to a block.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or does not know that block.
    pub async fn sale_count(&self, sale: Address, block: u64) -> Result<u64, ChainError> {
        number(self.call_view(block, sale, KeySale::salesCall {}).await?)
    }

    /// The newest block's number.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn height(&self) -> Result<u64, ChainError> {
        self.newest_block().await.map(|(number, _)| number)
    }

    /// The purchases of a sale from one block to another, both included, in order.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable, or its logs and receipts disagree.
    pub async fn sales(&self, sale: Address, from: u64, to: u64) -> Result<Vec<Sale>, ChainError> {
        let filter = Filter::new().address(sale).from_block(from).to_block(to);
        let mut logs = BTreeMap::new();
        for log in self.call(LOGS, self.provider.get_logs(&filter)).await? {
            let position = log.block_number.zip(log.log_index);
            let position = position.filter(|(block, _)| (from..=to).contains(block)).ok_or(INVALID_LOGS)?;
            // The same log twice is one log; two at one place contradict each other.
            if logs.insert(position, log.clone()).is_some_and(|other| other != log) {
                return Err(INVALID_LOGS);
            }
        }
        let mut sales = Vec::with_capacity(logs.len());
        for ((block, index), log) in logs {
            let (transaction, ordinal) = self.find_in_receipt(sale, &log).await?;
            sales.push(parse_sale(&log, block, index, transaction, ordinal)?);
        }
        Ok(sales)
    }

    /// Finds a log in the receipt of its transaction; returns the transaction and the log's ordinal.
    async fn find_in_receipt(&self, sale: Address, log: &Log) -> Result<(B256, usize), ChainError> {
        let hash = log.transaction_hash.filter(|_| !log.removed).ok_or(INVALID_LOGS)?;
        let receipt = self.receipt(hash).await?.ok_or(INVALID_LOGS)?;
        if !receipt.status() || receipt.block_hash() != log.block_hash {
            return Err(INVALID_LOGS);
        }
        let mut own = receipt.inner.logs().iter().filter(|own| own.address() == sale);
        let ordinal = own.position(|own| own.log_index == log.log_index && own.inner == log.inner);
        Ok((hash, ordinal.ok_or(INVALID_LOGS)?))
    }

    async fn call_view<C: SolCall>(&self, block: u64, to: Address, call: C) -> Result<C::Return, ChainError> {
        let output = self.call_at(block, to, call.abi_encode().into()).await?;
        C::abi_decode_returns(&output).map_err(|_| ChainError::InvalidAnswer { method: "eth_call" })
    }
}

const INVALID_LOGS: ChainError = ChainError::InvalidAnswer { method: LOGS };

fn parse_sale(
    log: &Log,
    block: u64,
    log_index: u64,
    transaction: B256,
    ordinal: usize,
) -> Result<Sale, ChainError> {
    let (owner, amount, key) = if let Ok(bought) = KeySale::KeyBought::decode_log(&log.inner) {
        let key = SaleKey { hash: bought.keyHash, pack: number(bought.pack)? };
        (bought.owner, bought.amount, Some(key))
    } else if let Ok(top_up) = KeySale::ToppedUp::decode_log(&log.inner) {
        (top_up.owner, top_up.amount, None)
    } else {
        return Err(INVALID_LOGS);
    };
    Ok(Sale { block, log_index, transaction, ordinal, owner, amount: money(amount)?, key })
}

/// An amount of the contract, which sells no more at once than fits.
fn money(amount: U256) -> Result<Money, ChainError> {
    i64::try_from(amount).map(Money::from_micros).map_err(|_| INVALID_LOGS)
}

fn number(value: U256) -> Result<u64, ChainError> {
    u64::try_from(value).map_err(|_| INVALID_LOGS)
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::{SolCall, SolEvent, SolValue as _};
    use serde_json::Value;

    use super::*;

    /// The interface above is the compiled one.
    #[test]
    fn the_interface_is_the_contracts() {
        let artifact: Value = serde_json::from_str(ARTIFACT).expect("JSON");
        let code = artifact["deployedBytecode"].as_str().expect("hex");
        let selectors = [
            KeySale::buyCall::SELECTOR,
            KeySale::topUpCall::SELECTOR,
            KeySale::tokenCall::SELECTOR,
            KeySale::payeeCall::SELECTOR,
            KeySale::firstBlockCall::SELECTOR,
            KeySale::packsCall::SELECTOR,
            KeySale::salesCall::SELECTOR,
        ];
        for selector in selectors {
            // Leading zeros are not in the code.
            let hex = alloy::hex::encode(selector);
            assert!(code.contains(hex.trim_start_matches("00")), "{hex}");
        }
        for topic in [KeySale::KeyBought::SIGNATURE_HASH, KeySale::ToppedUp::SIGNATURE_HASH] {
            assert!(code.contains(&alloy::hex::encode(topic)), "{topic}");
        }
    }

    #[test]
    fn the_constructors_arguments_follow_the_code() {
        let (token, payee) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let packs = [Money::from_micros(7), Money::from_micros(9)];
        let data = deployment(token, payee, &packs);
        // Three words, the length, and two prices.
        let arguments = &data[data.len() - 6 * 32..];
        let read = <(Address, Address, Vec<U256>)>::abi_decode_params(arguments).expect("decodes");
        assert_eq!(read, (token, payee, vec![U256::from(7), U256::from(9)]));
    }
}
