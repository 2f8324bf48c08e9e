// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {ICheats} from "./Chain.sol";
import {KeySaleBase} from "./KeySaleBase.t.sol";
import {Test} from "./Test.sol";

/// Wallets that buy, top up and close at random, and know of each call whether it must succeed.
contract KeySaleActors is Test {
    ICheats private constant cheats = ICheats(address(vm));
    uint256[3] private prices = [10e6, 25e6, 100e6];

    KeySale private immutable sale;
    address[3] private wallets;
    uint256 private immutable minimum;

    mapping(address wallet => mapping(bytes32 key => bool)) private keys;
    uint256 public paid;
    uint256 public sold;
    bool public closed;

    /// @param wallets_ have more money than they can spend; the last one is the payee.
    constructor(KeySale sale_, address[3] memory wallets_) {
        sale = sale_;
        wallets = wallets_;
        minimum = sale_.minimum();
    }

    function buy(uint256 who, uint256 key, uint256 pack) external {
        address wallet = wallets[who % 3];
        bytes32 keyHash = bytes32(key % 6);
        pack %= 5;
        bool mayBuy = !closed && who % 3 != 2 && keyHash != 0 && !keys[wallet][keyHash] && pack != 0 && pack < 4;
        assertEq(called(wallet, abi.encodeCall(KeySale.buy, (keyHash, pack))), mayBuy);
        if (mayBuy) {
            keys[wallet][keyHash] = true;
            (paid, sold) = (paid + prices[pack - 1], sold + 1);
        }
        assertEq(sale.bought(wallet, keyHash), keys[wallet][keyHash]);
    }

    function topUp(uint256 who, address owner, uint256 amount) external {
        // Amounts around both limits, and between them.
        if (amount % 3 == 0) amount = minimum - 1 + amount % 4;
        else if (amount % 3 == 1) amount = sale.MAX_AMOUNT() + amount % 4;
        else amount %= 1e12;
        bool mayBuy = !closed && who % 3 != 2 && owner != address(0) && amount >= minimum && amount <= 1e12;
        assertEq(called(wallets[who % 3], abi.encodeCall(KeySale.topUp, (owner, amount))), mayBuy);
        if (mayBuy) (paid, sold) = (paid + amount, sold + 1);
    }

    /// Seldom by the payee, or there would be little to see.
    function close(uint256 who) external {
        address wallet = who % 32 == 0 ? wallets[2] : wallets[who % 2];
        bool mayClose = !closed && who % 32 == 0;
        assertEq(called(wallet, abi.encodeCall(KeySale.close, ())), mayClose);
        closed = closed || mayClose;
    }

    function called(address wallet, bytes memory data) private returns (bool ok) {
        cheats.prank(wallet);
        (ok,) = address(sale).call(data);
    }
}

/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleInvariantTest is KeySaleBase {
    KeySaleActors private actors;
    uint256 private total;

    function setUp() public override {
        super.setUp();
        address[3] memory wallets = [BUYER, STRANGER, PAYEE];
        // Less than the most that a purchase can be, so that nothing above it is bought for want of a rule.
        uint256 purse = 1e18;
        cheats.prank(BUYER);
        TOKEN.transfer(address(this), held);
        for (uint256 i = 0; i < wallets.length; i++) {
            TOKEN.transfer(wallets[i], purse);
            approve(wallets[i], type(uint256).max);
        }
        total = purse;
        actors = new KeySaleActors(sale, wallets);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    function invariant_what_was_sold_was_received_and_counted() external view {
        assertEq(TOKEN.balanceOf(PAYEE), total + actors.paid());
        assertEq(TOKEN.balanceOf(BUYER) + TOKEN.balanceOf(STRANGER), 2 * total - actors.paid());
        assertEq(TOKEN.balanceOf(address(sale)), 0);
        assertEq(sale.sales(), actors.sold());
    }

    function invariant_only_the_payee_has_closed_and_nothing_else_changed() external view {
        assertEq(sale.closed(), actors.closed());
        assertEq(uint256(uint160(sale.payee())), uint256(uint160(PAYEE)));
        assertEq(uint256(uint160(sale.token())), uint256(uint160(address(TOKEN))));
        assertEq(sale.minimum(), MINIMUM);
        assertEq(abi.encode(sale.packs()), abi.encode(prices()));
    }
}
