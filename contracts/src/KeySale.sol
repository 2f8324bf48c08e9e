// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// The part of Tempo's token standard that a sale needs. It reverts where it does not succeed.
interface ITip20 {
    function currency() external view returns (string memory);
    function decimals() external view returns (uint8);
    function balanceOf(address account) external view returns (uint256);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Sells API keys and credit for a dollar token, until its payee closes it.
///
/// A wallet approves this contract for the price and calls {buy} or {topUp}, best both in one batch. The money goes
/// from the caller to the payee within that call; the server follows the events and credits the owner that they name.
/// The log of a purchase stands directly before the token's log of its payment.
///
/// There is no owner, and no way to change token, payee or prices: a new price list is a new contract. The payee can
/// end the sale, so that nobody has to follow it any longer, and can do nothing else. No money is ever held, so there
/// is none to withdraw, lose or freeze. An allowance can only be spent by the wallet that gave it, on its own purchases.
///
/// Reentrancy has no way in: the only calls to the outside are to the token, which is part of the chain and calls
/// nobody back, and everything is recorded before them.
contract KeySale {
    /// Purchase of a key by its owner. `keyHash` is the hash of a secret that only its maker knows; `amount` becomes the
    /// owner's credit.
    event KeyBought(bytes32 indexed keyHash, address indexed owner, uint256 pack, uint256 amount);
    /// Purchase of credit.
    event ToppedUp(address indexed owner, uint256 amount, address buyer);
    /// End of the sale, after this many purchases. There are no more.
    event Closed(uint256 sales);

    error NotADollarToken();
    error InvalidPayee();
    error NoPacks();
    error TooManyPacks();
    error ZeroMinimum();
    error ZeroOwner();
    error ZeroKeyHash();
    error AmountTooSmall();
    error AmountTooLarge();
    error UnknownPack(uint256 pack);
    error KeyAlreadyBought(bytes32 keyHash);
    error PayeeCannotBuy();
    error NotPayee();
    error SaleClosed();
    error NotReceived();

    /// The version of this interface: the first one had no such number.
    uint256 public constant VERSION = 2;
    /// The most that one purchase can be: the server counts in signed 64-bit numbers.
    uint256 public constant MAX_AMOUNT = uint256(uint64(type(int64).max));
    /// The most packs that a sale can have. Each takes a new slot of storage, the dearest thing to make on Tempo, so
    /// this is what bounds the gas that a deployment needs.
    uint256 public constant MAX_PACKS = 16;
    /// Every TIP-20 token's address begins with this, and no other contract's does.
    bytes12 private constant TOKEN_PREFIX = 0x20C000000000000000000000;
    /// TIP-1022: an address with this after its first four bytes stands for another one.
    bytes10 private constant VIRTUAL_MAGIC = 0xFDFDFDFDFDFDFDFDFDFD;

    /// The token that is paid with: six decimals, in US dollars.
    address public immutable token;
    /// The account that is paid and can close the sale.
    address public immutable payee;
    /// The least that one purchase can be, of a pack as of credit: following a purchase costs the server work.
    uint256 public immutable minimum;
    /// The block of deployment: whoever reads the events need not look further back.
    uint256 public immutable firstBlock;

    /// Number of purchases so far. Whoever reads the events can tell by this that a node left some out.
    uint256 public sales;
    /// True once the payee has ended the sale, and for ever after.
    bool public closed;
    /// The keys that each owner has bought. An owner buys a key once: what is sent twice is paid once. Another's purchase of
    /// the same hash is not in the way, so there is nothing to gain from seeing a purchase that waits.
    mapping(address owner => mapping(bytes32 keyHash => bool)) public bought;
    /// Prices of the packs. Written by the constructor and never again.
    uint256[] private _prices;

    /// @param payee_ must be an account whose balance shows what it was paid, and that can call {close}: no token, no
    /// virtual address, not this contract.
    /// @param minimum_ in units of the token, above zero. No pack may cost less, or the packs would be a way around it.
    /// @param prices in units of the token; pack 1 costs the first, pack 2 the second, and so on.
    constructor(address token_, address payee_, uint256 minimum_, uint256[] memory prices) {
        if (!_isToken(token_) || ITip20(token_).decimals() != 6) revert NotADollarToken();
        if (keccak256(bytes(ITip20(token_).currency())) != keccak256("USD")) revert NotADollarToken();
        if (payee_ == address(0) || payee_ == address(this)) revert InvalidPayee();
        if (_isToken(payee_) || _isVirtual(payee_)) revert InvalidPayee();
        if (minimum_ == 0) revert ZeroMinimum();
        if (prices.length == 0) revert NoPacks();
        if (prices.length > MAX_PACKS) revert TooManyPacks();
        for (uint256 i = 0; i < prices.length; i++) {
            if (prices[i] < minimum_) revert AmountTooSmall();
            if (prices[i] > MAX_AMOUNT) revert AmountTooLarge();
        }
        token = token_;
        payee = payee_;
        minimum = minimum_;
        firstBlock = block.number;
        _prices = prices;
    }

    /// Buys a key with the credit of a pack, for the caller: a key belongs to who pays for it. The price cannot change
    /// between looking and buying: it never changes.
    function buy(bytes32 keyHash, uint256 pack) external {
        _requireForSale();
        if (keyHash == 0) revert ZeroKeyHash();
        if (bought[msg.sender][keyHash]) revert KeyAlreadyBought(keyHash);
        uint256 amount = priceOf(pack);
        bought[msg.sender][keyHash] = true;
        emit KeyBought(keyHash, msg.sender, pack, amount);
        _pay(amount);
    }

    /// Buys credit: any amount within the limits, for anybody.
    function topUp(address owner, uint256 amount) external {
        _requireForSale();
        if (owner == address(0)) revert ZeroOwner();
        if (amount < minimum) revert AmountTooSmall();
        if (amount > MAX_AMOUNT) revert AmountTooLarge();
        emit ToppedUp(owner, amount, msg.sender);
        _pay(amount);
    }

    /// Ends the sale for ever. Only the payee can, and this is all that it can do.
    function close() external {
        if (msg.sender != payee) revert NotPayee();
        if (closed) revert SaleClosed();
        closed = true;
        emit Closed(sales);
    }

    /// Price of a pack. Packs are numbered from 1.
    function priceOf(uint256 pack) public view returns (uint256) {
        if (pack == 0 || pack > _prices.length) revert UnknownPack(pack);
        return _prices[pack - 1];
    }

    /// Prices of all packs, from pack 1 on.
    function packs() external view returns (uint256[] memory) {
        return _prices;
    }

    /// Refuses every purchase after the end, and at any time the payee's: it would pay itself for credit.
    function _requireForSale() private view {
        if (closed) revert SaleClosed();
        if (msg.sender == payee) revert PayeeCannotBuy();
    }

    /// Moves the money, from the caller only. A token's own error (balance, allowance, policy) is passed on.
    ///
    /// A transfer that succeeds need not arrive: the payee's own receive policy (TIP-1028) can send it elsewhere. So
    /// what counts is the payee's balance.
    function _pay(uint256 amount) private {
        sales++;
        uint256 held = ITip20(token).balanceOf(payee);
        if (!ITip20(token).transferFrom(msg.sender, payee, amount)) revert NotReceived();
        if (ITip20(token).balanceOf(payee) != held + amount) revert NotReceived();
    }

    function _isToken(address account) private pure returns (bool) {
        return bytes12(bytes20(account)) == TOKEN_PREFIX;
    }

    function _isVirtual(address account) private pure returns (bool) {
        return bytes10(bytes20(account) << 32) == VIRTUAL_MAGIC;
    }
}
