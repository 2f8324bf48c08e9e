// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// The part of Tempo's token standard that a sale needs. It reverts where it does not succeed.
interface ITip20 {
    function decimals() external view returns (uint8);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Sells API keys and credit for a dollar token: the sale that earlier versions of the program deployed.
///
/// Such a sale can never be closed, so purchases may come from it at any time and the program follows it for ever. It
/// deploys {KeySale} instead; only tests still deploy this one. The compiled code must stay as it is: the program
/// recognises a sale by it.
///
/// A wallet approves this contract for the price and calls {buy} or {topUp}, best both in one batch. The money goes
/// from the caller to the payee within that call; the server follows the events and credits the owner that they name.
///
/// Nobody has any power here. There is no owner and no way to change token, payee or prices: a new price list is a new
/// contract. No money is ever held, so there is none to withdraw, lose or freeze. An allowance can only be spent by the
/// wallet that gave it, on its own purchases.
///
/// Reentrancy has no way in: the only call to the outside is to the token, which is part of the chain and calls nobody
/// back, and everything is recorded before it.
contract KeySaleV1 {
    /// A key was bought. `keyHash` is the hash of a secret that only its maker knows; `amount` becomes the owner's
    /// credit.
    event KeyBought(bytes32 indexed keyHash, address indexed owner, uint256 pack, uint256 amount, address buyer);
    /// Credit was bought.
    event ToppedUp(address indexed owner, uint256 amount, address buyer);

    error NotATip20Token();
    error ZeroPayee();
    error NoPacks();
    error ZeroPrice();
    error ZeroOwner();
    error ZeroKeyHash();
    error ZeroAmount();
    error AmountTooLarge();
    error UnknownPack(uint256 pack);
    error KeyAlreadyBought(bytes32 keyHash);
    error TransferFailed();

    /// The most that one purchase can be: the server counts in signed 64-bit numbers.
    uint256 public constant MAX_AMOUNT = uint256(uint64(type(int64).max));
    /// Every TIP-20 token's address begins with this, and no other contract's does.
    bytes12 private constant TOKEN_PREFIX = 0x20C000000000000000000000;

    /// The token that is paid with: six decimals.
    address public immutable token;
    /// Who is paid.
    address public immutable payee;
    /// The block of deployment: whoever reads the events need not look further back.
    uint256 public immutable firstBlock;

    /// How many events there are so far. Whoever reads them can tell by this that a node left some out.
    uint256 public sales;
    /// Whether a key was bought. A key is bought once: a second buyer would pay for the first one's.
    mapping(bytes32 keyHash => bool) public bought;
    /// What the packs cost. Written by the constructor and never again.
    uint256[] private _prices;

    /// @param prices in units of the token; pack 1 costs the first, pack 2 the second, and so on.
    constructor(address token_, address payee_, uint256[] memory prices) {
        if (bytes12(bytes20(token_)) != TOKEN_PREFIX || ITip20(token_).decimals() != 6) revert NotATip20Token();
        if (payee_ == address(0)) revert ZeroPayee();
        if (prices.length == 0) revert NoPacks();
        for (uint256 i = 0; i < prices.length; i++) {
            if (prices[i] == 0) revert ZeroPrice();
            if (prices[i] > MAX_AMOUNT) revert AmountTooLarge();
        }
        token = token_;
        payee = payee_;
        firstBlock = block.number;
        _prices = prices;
    }

    /// Buys a key with the credit of a pack. The price cannot change between looking and buying: it never changes.
    ///
    /// Whoever sees this call waiting can buy the same hash first. That gains nothing: the key is then paid for by
    /// them, usable only by who knows the secret, and this call reverts without paying. Take a new secret then.
    function buy(bytes32 keyHash, uint256 pack, address owner) external {
        if (keyHash == 0) revert ZeroKeyHash();
        if (owner == address(0)) revert ZeroOwner();
        if (bought[keyHash]) revert KeyAlreadyBought(keyHash);
        uint256 amount = priceOf(pack);
        bought[keyHash] = true;
        emit KeyBought(keyHash, owner, pack, amount, msg.sender);
        _pay(amount);
    }

    /// Buys credit: any amount, for anybody.
    function topUp(address owner, uint256 amount) external {
        if (owner == address(0)) revert ZeroOwner();
        if (amount == 0) revert ZeroAmount();
        if (amount > MAX_AMOUNT) revert AmountTooLarge();
        emit ToppedUp(owner, amount, msg.sender);
        _pay(amount);
    }

    /// What a pack costs. Packs are numbered from 1.
    function priceOf(uint256 pack) public view returns (uint256) {
        if (pack == 0 || pack > _prices.length) revert UnknownPack(pack);
        return _prices[pack - 1];
    }

    /// What all packs cost, from pack 1 on.
    function packs() external view returns (uint256[] memory) {
        return _prices;
    }

    /// Moves the money, from the caller only. A token's own error (balance, allowance, policy) is passed on.
    function _pay(uint256 amount) private {
        sales++;
        if (!ITip20(token).transferFrom(msg.sender, payee, amount)) revert TransferFailed();
    }
}
