//! The key sale (`contracts/src/KeySale.sol`): its deployment and its terms. [`logs`] reads its sales.
//!
//! Two versions are followed. The first one (`contracts/src/KeySaleV1.sol`) is deployed no more, and cannot be closed.
//! Its `buy` takes any owner, so a key of it is its owner's only where the buyer is the owner.

mod artifact;
pub mod logs;

use alloy::network::ReceiptResponse as _;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::providers::Provider as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolConstructor as _};
use tempo_alloy::primitives::transaction::Call;

use super::{Chain, ChainError, Fees, SendOutcome, SignedTransaction};
use crate::money::Money;
use artifact::{KEY_SALE, KEY_SALE_V1};
use contract::{KeySale, KeySaleV1};

mod contract {
    alloy::sol! {
        /// The part of the contract that the server uses.
        contract KeySale {
            constructor(address token, address payee, uint256 minimum, uint256[] prices);

            event KeyBought(bytes32 indexed keyHash, address indexed owner, uint256 pack, uint256 amount);
            event ToppedUp(address indexed owner, uint256 amount, address buyer);

            function buy(bytes32 keyHash, uint256 pack) external;
            function topUp(address owner, uint256 amount) external;
            function token() external view returns (address);
            function payee() external view returns (address);
            function minimum() external view returns (uint256);
            function firstBlock() external view returns (uint256);
            function packs() external view returns (uint256[] memory);
            function sales() external view returns (uint256);
            function closed() external view returns (bool);
        }

        /// The part that the first version has otherwise.
        contract KeySaleV1 {
            constructor(address token, address payee, uint256[] prices);

            event KeyBought(bytes32 indexed keyHash, address indexed owner, uint256 pack, uint256 amount, address buyer);

            function buy(bytes32 keyHash, uint256 pack, address owner) external;
        }
    }
}

/// The most packs that a sale can have.
pub const MAX_PACKS: usize = 16;
/// Gas limit of a deployment, enough for as many packs: Tempo asks 1,000 for each byte
/// of code, and 250,000 for each new slot of storage.
pub const DEPLOYMENT_GAS: u64 = 12_000_000;
/// Validity of a deployment in seconds: within the 30 that the chain allows
/// for expiring nonces.
pub const VALID_SECONDS: u64 = 25;

/// Version of a sale's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleVersion {
    /// `buy` takes any owner, a hash is sold once, and nobody can close it.
    V1,
    /// A key is its buyer's, a hash is sold once to each owner, and the payee can close it.
    V2,
}

impl SaleVersion {
    /// The number, as the contract's `VERSION` has it; the first one has none.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// Terms of a sale's contract. They never change, but that it can be closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleTerms {
    pub version: SaleVersion,
    pub token: Address,
    pub payee: Address,
    /// The least that one purchase can be; the first version has none.
    pub minimum: Option<Money>,
    /// Block of the contract's deployment.
    pub first_block: u64,
    /// Prices of the packs; pack 1 costs the first.
    pub packs: Vec<Money>,
}

/// A key to be sold, or sold, by the hash of its secret.
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
        "the deployment {0} failed on the chain: too little gas, the token is not a TIP-20 token in US \
         dollars, the payee is a token or a virtual address, or a pack costs less than the minimum"
    )]
    Failed(B256),
    #[error("the outcome of the deployment {0} is not known; look it up before you try again")]
    Unknown(B256),
    #[error(
        "the contract {0:#x} was deployed, and its terms cannot be read back: {1}; look at it before you use it"
    )]
    Unread(Address, ChainError),
    #[error("the contract {0:#x} was deployed, and its terms are not those that were asked for")]
    OtherTerms(Address),
}

/// A sale to be deployed.
#[derive(Debug, Clone, Copy)]
pub struct NewSale<'a> {
    pub token: Address,
    pub payee: Address,
    /// The least that one purchase can be. No pack can cost less.
    pub minimum: Money,
    /// Prices of the packs.
    pub packs: &'a [Money],
}

impl NewSale<'_> {
    /// The transaction data that deploys it.
    #[must_use]
    pub fn deployment(&self) -> Bytes {
        let prices = self.packs.iter().copied().map(units).collect();
        let (token, payee, minimum) = (self.token, self.payee, units(self.minimum));
        KEY_SALE.deployment(&KeySale::constructorCall { token, payee, minimum, prices }.abi_encode())
    }
}

/// The transaction data that deploys a sale of the first version, which tests follow.
#[must_use]
pub fn deployment_v1(token: Address, payee: Address, packs: &[Money]) -> Bytes {
    let prices = packs.iter().copied().map(units).collect();
    KEY_SALE_V1.deployment(&KeySaleV1::constructorCall { token, payee, prices }.abi_encode())
}

/// The call that buys a key for its sender.
#[must_use]
pub fn buy_call(key: SaleKey) -> Bytes {
    KeySale::buyCall { keyHash: key.hash, pack: U256::from(key.pack) }.abi_encode().into()
}

/// The call that buys a key from a sale of the first version, for any owner.
#[must_use]
pub fn buy_call_v1(key: SaleKey, owner: Address) -> Bytes {
    KeySaleV1::buyCall { keyHash: key.hash, pack: U256::from(key.pack), owner }.abi_encode().into()
}

/// The call that buys credit, the same of both versions.
#[must_use]
pub fn top_up_call(owner: Address, amount: Money) -> Bytes {
    KeySale::topUpCall { owner, amount: units(amount) }.abi_encode().into()
}

fn units(amount: Money) -> U256 {
    U256::from(u64::try_from(amount.micros()).unwrap_or(0))
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

    /// Deploys a sale, as [`Self::deploy`] does, and reads its terms back.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn deploy_sale(
        &self,
        signer: &PrivateKeySigner,
        sale: &NewSale<'_>,
        fees: Fees,
        until: u64,
    ) -> Result<(Address, SaleTerms), DeployError> {
        let contract = self.deploy(signer, sale.deployment(), fees, until).await?;
        let terms = self.sale_terms(contract).await.map_err(|error| DeployError::Unread(contract, error))?;
        let asked = (sale.token, sale.payee, Some(sale.minimum), sale.packs);
        if (terms.token, terms.payee, terms.minimum, terms.packs.as_slice()) != asked {
            return Err(DeployError::OtherTerms(contract));
        }
        Ok((contract, terms))
    }

    /// The terms of a sale, once its code is that of a version which is known here.
    ///
    /// # Errors
    /// [`ChainError::InvalidAnswer`] for an address without one; any other when the node is
    /// unreachable.
    pub async fn sale_terms(&self, sale: Address) -> Result<SaleTerms, ChainError> {
        self.confirm().await?;
        let (block, _) = self.newest_block().await?;
        let method = "eth_getCode";
        let code = self.provider.get_code_at(sale).number(block);
        let code = self.call(method, async { code.await }).await?;
        let version = if KEY_SALE.is_code(&code) {
            SaleVersion::V2
        } else if KEY_SALE_V1.is_code(&code) {
            SaleVersion::V1
        } else {
            return Err(ChainError::InvalidAnswer { method });
        };
        let minimum = match version {
            SaleVersion::V1 => None,
            SaleVersion::V2 => Some(money(self.call_view(block, sale, KeySale::minimumCall {}).await?)?),
        };
        let first_block = self.call_view(block, sale, KeySale::firstBlockCall {}).await?;
        let packs = self.call_view(block, sale, KeySale::packsCall {}).await?;
        Ok(SaleTerms {
            version,
            token: self.call_view(block, sale, KeySale::tokenCall {}).await?,
            payee: self.call_view(block, sale, KeySale::payeeCall {}).await?,
            minimum,
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

    /// True if a sale of the second version was closed up to a block.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or does not know that block.
    pub async fn sale_is_closed(&self, sale: Address, block: u64) -> Result<bool, ChainError> {
        self.call_view(block, sale, KeySale::closedCall {}).await
    }

    /// The newest block's number.
    ///
    /// # Errors
    /// [`ChainError`] when the node is unreachable or its answer is invalid.
    pub async fn height(&self) -> Result<u64, ChainError> {
        self.newest_block().await.map(|(number, _)| number)
    }

    async fn call_view<C: SolCall>(&self, block: u64, to: Address, call: C) -> Result<C::Return, ChainError> {
        let output = self.call_at(block, to, call.abi_encode().into()).await?;
        C::abi_decode_returns(&output).map_err(|_| ChainError::InvalidAnswer { method: "eth_call" })
    }
}

/// An amount of the contract, which sells no more at once than fits.
fn money(amount: U256) -> Result<Money, ChainError> {
    i64::try_from(amount).map(Money::from_micros).map_err(|_| INVALID_NUMBER)
}

fn number(value: U256) -> Result<u64, ChainError> {
    u64::try_from(value).map_err(|_| INVALID_NUMBER)
}

const INVALID_NUMBER: ChainError = ChainError::InvalidAnswer { method: "eth_call" };

#[cfg(test)]
mod tests {
    use alloy::sol_types::{SolCall, SolEvent as _, SolValue as _};

    use super::*;

    /// The interface above is the compiled one.
    #[test]
    fn the_interface_is_the_contracts() {
        let both = [
            KeySale::topUpCall::SELECTOR,
            KeySale::tokenCall::SELECTOR,
            KeySale::payeeCall::SELECTOR,
            KeySale::firstBlockCall::SELECTOR,
            KeySale::packsCall::SELECTOR,
            KeySale::salesCall::SELECTOR,
        ];
        let second =
            [KeySale::buyCall::SELECTOR, KeySale::minimumCall::SELECTOR, KeySale::closedCall::SELECTOR];
        let topped_up = KeySale::ToppedUp::SIGNATURE_HASH;
        for (artifact, selectors, topics) in [
            (&*KEY_SALE, second.as_slice(), [topped_up, KeySale::KeyBought::SIGNATURE_HASH]),
            (
                &*KEY_SALE_V1,
                &[KeySaleV1::buyCall::SELECTOR],
                [topped_up, KeySaleV1::KeyBought::SIGNATURE_HASH],
            ),
        ] {
            let code = artifact.code_in_hex();
            for selector in both.iter().chain(selectors) {
                // Leading zeros are not in the code.
                let hex = alloy::hex::encode(selector);
                assert!(code.contains(hex.trim_start_matches("00")), "{hex}");
            }
            for topic in topics {
                assert!(code.contains(&alloy::hex::encode(topic)), "{topic}");
            }
        }
    }

    #[test]
    fn the_constructors_arguments_follow_the_code() {
        let (token, payee) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let packs = [Money::from_micros(7), Money::from_micros(9)];
        let data = NewSale { token, payee, minimum: Money::from_micros(5), packs: &packs }.deployment();
        // Four words, the length, and two prices.
        let arguments = &data[data.len() - 7 * 32..];
        let read = <(Address, Address, U256, Vec<U256>)>::abi_decode_params(arguments).expect("decodes");
        assert_eq!(read, (token, payee, U256::from(5), vec![U256::from(7), U256::from(9)]));
    }
}
