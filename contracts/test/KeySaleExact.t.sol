// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {KeySaleBase} from "./KeySaleBase.t.sol";
import {ITokenErrors} from "./SaleBase.t.sol";
import {Logs} from "./Logs.sol";

/// Everything that a sale emits, and which rule speaks where a call breaks several.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleExactTest is KeySaleBase, Logs {
    function word(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    /// The server takes the log of a purchase for paid only where the token's log of its payment comes next.
    function test_a_key_is_announced_directly_before_its_payment() external {
        startLogs();
        buy(BUYER, KEY, 2);
        bytes32[] memory topics = new bytes32[](3);
        topics[0] = keccak256("KeyBought(bytes32,address,uint256,uint256)");
        topics[1] = KEY;
        topics[2] = word(BUYER);
        wantLog(address(sale), topics, abi.encode(2, 25e6));
        wantTransfer(address(TOKEN), BUYER, PAYEE, 25e6);
        assertLogs();
    }

    function test_credit_is_announced_directly_before_its_payment() external {
        startLogs();
        topUp(BUYER, OWNER, 7e6);
        bytes32[] memory topics = new bytes32[](2);
        topics[0] = keccak256("ToppedUp(address,uint256,address)");
        topics[1] = word(OWNER);
        wantLog(address(sale), topics, abi.encode(7e6, BUYER));
        wantTransfer(address(TOKEN), BUYER, PAYEE, 7e6);
        assertLogs();
    }

    function test_the_end_is_announced_alone() external {
        buy(BUYER, KEY, 1);
        startLogs();
        close();
        bytes32[] memory topics = new bytes32[](1);
        topics[0] = keccak256("Closed(uint256)");
        wantLog(address(sale), topics, abi.encode(1));
        assertLogs();
        assertEq(sale.sales(), 1);
    }

    function test_making_a_sale_announces_nothing() external {
        startLogs();
        new KeySale(address(TOKEN), PAYEE, MINIMUM, prices());
        assertLogs();
    }

    /// A wallet buys for itself and tops up others, itself and the payee alike.
    function test_credit_may_be_for_anybody() external {
        address[3] memory owners = [BUYER, PAYEE, address(sale)];
        for (uint256 i = 0; i < owners.length; i++) {
            expectEvent();
            emit KeySale.ToppedUp(owners[i], MINIMUM, BUYER);
            topUp(BUYER, owners[i], MINIMUM);
        }
        assertMoney(3 * MINIMUM, 3);
    }

    function test_buy_asks_in_this_order() external {
        buy(BUYER, KEY, 1);
        approve(BUYER, 0);
        bytes memory known = abi.encodeWithSelector(KeySale.KeyAlreadyBought.selector, KEY);
        bytes memory unknown = abi.encodeWithSelector(KeySale.UnknownPack.selector, 4);
        assertRefused(PAYEE, abi.encodeCall(KeySale.buy, (0, 4)), KeySale.PayeeCannotBuy.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (0, 4)), KeySale.ZeroKeyHash.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, 4)), known);
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (keccak256("another secret"), 4)), unknown);
        bytes memory rest = abi.encodeCall(KeySale.buy, (keccak256("another secret"), 3));
        assertRefused(BUYER, rest, ITokenErrors.InsufficientAllowance.selector);
        close();
        assertRefused(PAYEE, abi.encodeCall(KeySale.buy, (0, 4)), KeySale.SaleClosed.selector);
        assertRefused(BUYER, rest, KeySale.SaleClosed.selector);
    }

    function test_topUp_asks_in_this_order() external {
        approve(BUYER, 0);
        assertRefused(PAYEE, abi.encodeCall(KeySale.topUp, (address(0), 0)), KeySale.PayeeCannotBuy.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (address(0), 0)), KeySale.ZeroOwner.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (OWNER, 0)), KeySale.AmountTooSmall.selector);
        bytes memory largest = abi.encodeCall(KeySale.topUp, (OWNER, 9_223_372_036_854_775_807));
        assertRefused(BUYER, largest, ITokenErrors.InsufficientAllowance.selector);
        bytes memory beyond = abi.encodeCall(KeySale.topUp, (OWNER, 9_223_372_036_854_775_808));
        assertRefused(BUYER, beyond, KeySale.AmountTooLarge.selector);
        bytes memory overflowing = abi.encodeCall(KeySale.topUp, (OWNER, type(uint256).max));
        assertRefused(BUYER, overflowing, KeySale.AmountTooLarge.selector);
        close();
        assertRefused(PAYEE, abi.encodeCall(KeySale.topUp, (address(0), 0)), KeySale.SaleClosed.selector);
    }

    function test_close_asks_who_before_whether() external {
        close();
        assertRefused(STRANGER, abi.encodeCall(KeySale.close, ()), KeySale.NotPayee.selector);
    }

    function test_the_largest_purchase_is_this_number() external {
        cheats.prank(BUYER);
        TOKEN.transfer(address(this), held);
        TOKEN.transfer(BUYER, 9_223_372_036_854_775_807);
        topUp(BUYER, OWNER, 9_223_372_036_854_775_807);
        assertEq(TOKEN.balanceOf(PAYEE), 9_223_372_036_854_775_807);
    }
}
