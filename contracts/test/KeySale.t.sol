// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {KeySaleBase} from "./KeySaleBase.t.sol";
import {ITokenErrors} from "./SaleBase.t.sol";

interface ITransferFrom {
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

interface IMockCheats {
    function mockCalls(address target, bytes calldata data, bytes[] calldata answers) external;
}

/// Purchases, and the end of a sale.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleTest is KeySaleBase {
    function test_a_key_is_paid_to_the_payee_and_announced() external {
        expectEvent();
        emit KeySale.KeyBought(KEY, BUYER, 2, 25e6);
        buy(BUYER, KEY, 2);
        assertMoney(25e6, 1);
        assertEq(sale.bought(BUYER, KEY), true);
    }

    function test_credit_is_paid_to_the_payee_and_announced() external {
        expectEvent();
        emit KeySale.ToppedUp(OWNER, MINIMUM, BUYER);
        topUp(BUYER, OWNER, MINIMUM);
        assertMoney(MINIMUM, 1);
    }

    function test_the_terms_are_public() external view {
        assertEq(sale.VERSION(), 2);
        assertEq(uint256(uint160(sale.token())), uint256(uint160(address(TOKEN))));
        assertEq(uint256(uint160(sale.payee())), uint256(uint160(PAYEE)));
        assertEq(sale.minimum(), MINIMUM);
        assertEq(sale.firstBlock(), block.number);
        assertEq(abi.encode(sale.packs()), abi.encode(prices()));
        assertEq(sale.priceOf(1), 10e6);
        assertEq(sale.priceOf(3), 100e6);
        assertEq(sale.sales(), 0);
        assertEq(sale.closed(), false);
        assertEq(sale.bought(BUYER, KEY), false);
    }

    function test_an_owner_buys_a_key_once() external {
        buy(BUYER, KEY, 1);
        bytes memory wanted = abi.encodeWithSelector(KeySale.KeyAlreadyBought.selector, KEY);
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, 1)), wanted);
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, 3)), wanted);
        buy(BUYER, keccak256("another secret"), 1);
        assertMoney(20e6, 2);
    }

    /// Whoever sees a purchase waiting and buys the same hash first buys it for itself, and is not in the way.
    function test_a_hash_that_another_has_bought_is_still_for_sale() external {
        TOKEN.transfer(STRANGER, 10e6);
        approve(STRANGER, 10e6);
        buy(STRANGER, KEY, 1);
        assertEq(sale.bought(STRANGER, KEY), true);
        assertEq(sale.bought(BUYER, KEY), false);

        expectEvent();
        emit KeySale.KeyBought(KEY, BUYER, 3, 100e6);
        buy(BUYER, KEY, 3);
        assertEq(sale.bought(BUYER, KEY), true);
        assertEq(TOKEN.balanceOf(PAYEE), 110e6);
        assertEq(sale.sales(), 2);
    }

    function test_nothing_is_sold_to_nobody_or_outside_the_limits() external {
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (0, 1)), KeySale.ZeroKeyHash.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (address(0), MINIMUM)), KeySale.ZeroOwner.selector);
        bytes memory topUp = abi.encodeCall(KeySale.topUp, (OWNER, 0));
        assertRefused(BUYER, topUp, KeySale.AmountTooSmall.selector);
        topUp = abi.encodeCall(KeySale.topUp, (OWNER, MINIMUM - 1));
        assertRefused(BUYER, topUp, KeySale.AmountTooSmall.selector);
        topUp = abi.encodeCall(KeySale.topUp, (OWNER, sale.MAX_AMOUNT() + 1));
        assertRefused(BUYER, topUp, KeySale.AmountTooLarge.selector);
        for (uint256 pack = 0; pack < 8; pack += 4) {
            bytes memory unknown = abi.encodeWithSelector(KeySale.UnknownPack.selector, pack);
            assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, pack)), unknown);
        }
    }

    function test_a_payment_that_fails_sells_nothing_and_says_why() external {
        approve(BUYER, 10e6 - 1);
        bytes4 allowance = ITokenErrors.InsufficientAllowance.selector;
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, 1)), allowance);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (OWNER, 10e6)), allowance);

        TOKEN.transfer(STRANGER, 10e6 - 1);
        approve(STRANGER, type(uint256).max);
        bytes memory balance =
            abi.encodeWithSelector(ITokenErrors.InsufficientBalance.selector, 10e6 - 1, 10e6, address(TOKEN));
        assertRefused(STRANGER, abi.encodeCall(KeySale.topUp, (STRANGER, 10e6)), balance);

        // The key is still for sale.
        approve(BUYER, 10e6);
        buy(BUYER, KEY, 1);
        assertMoney(10e6, 1);
    }

    /// Tempo's tokens revert; one that only says "no" is not believed to have paid.
    function test_a_token_that_says_no_sells_nothing() external {
        assertNotReceived(false);
    }

    /// TIP-1028: the token says "yes" to a transfer that the payee's receive policy sends elsewhere. These chains do
    /// not have such policies, so the token is made to answer so.
    function test_a_payment_that_the_payee_does_not_receive_sells_nothing() external {
        assertNotReceived(true);
    }

    /// The balance must rise by neither less nor more, and the token must say that it paid.
    function test_a_payment_counts_only_if_the_payee_receives_exactly_the_price() external {
        uint256[4] memory received = [uint256(10e6) - 1, 10e6 + 1, 0, 10e6];
        bool[4] memory said = [true, true, true, false];
        bytes memory transfer = abi.encodeCall(ITransferFrom.transferFrom, (BUYER, PAYEE, 10e6));
        for (uint256 i = 0; i < received.length; i++) {
            cheats.mockCall(address(TOKEN), transfer, abi.encode(said[i]));
            bytes[] memory balances = new bytes[](2);
            (balances[0], balances[1]) = (abi.encode(7), abi.encode(7 + received[i]));
            IMockCheats(address(vm)).mockCalls(address(TOKEN), abi.encodeCall(TOKEN.balanceOf, (PAYEE)), balances);
            cheats.prank(BUYER);
            (bool ok, bytes memory got) = address(sale).call(abi.encodeCall(KeySale.buy, (KEY, 1)));
            assertEq(ok, false);
            assertEq(got, abi.encodeWithSelector(KeySale.NotReceived.selector));
        }
    }

    function assertNotReceived(bool said) private {
        bytes memory transfer = abi.encodeCall(ITransferFrom.transferFrom, (BUYER, PAYEE, 10e6));
        cheats.mockCall(address(TOKEN), transfer, abi.encode(said));
        assertRefused(BUYER, abi.encodeCall(KeySale.buy, (KEY, 1)), KeySale.NotReceived.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (OWNER, 10e6)), KeySale.NotReceived.selector);
        assertEq(sale.bought(BUYER, KEY), false);
    }

    /// The payee would pay itself, and be owed credit for it.
    function test_the_payee_buys_nothing() external {
        TOKEN.transfer(PAYEE, 100e6);
        approve(PAYEE, 100e6);
        assertRefused(PAYEE, abi.encodeCall(KeySale.buy, (KEY, 1)), KeySale.PayeeCannotBuy.selector);
        assertRefused(PAYEE, abi.encodeCall(KeySale.topUp, (OWNER, 10e6)), KeySale.PayeeCannotBuy.selector);
    }

    function test_the_payee_ends_the_sale_once_and_for_ever() external {
        buy(BUYER, KEY, 1);
        topUp(BUYER, OWNER, MINIMUM);
        expectEvent();
        emit KeySale.Closed(2);
        close();
        assertEq(sale.closed(), true);
        assertMoney(11e6, 2);

        bytes memory another = abi.encodeCall(KeySale.buy, (keccak256("another secret"), 1));
        assertRefused(BUYER, another, KeySale.SaleClosed.selector);
        assertRefused(BUYER, abi.encodeCall(KeySale.topUp, (OWNER, MINIMUM)), KeySale.SaleClosed.selector);
        assertRefused(PAYEE, abi.encodeCall(KeySale.close, ()), KeySale.SaleClosed.selector);
        // What was sold and the terms are still there to read.
        assertEq(sale.bought(BUYER, KEY), true);
        assertEq(abi.encode(sale.packs()), abi.encode(prices()));
    }

    function test_a_sale_may_end_without_a_purchase() external {
        expectEvent();
        emit KeySale.Closed(0);
        close();
        assertEq(sale.closed(), true);
    }

    /// Not the payee, beyond ending the sale, and not whoever deployed it: there is nothing else to call.
    function test_nobody_has_power_over_an_allowance_or_the_terms() external {
        address[3] memory others = [PAYEE, address(this), STRANGER];
        bytes memory nothing = "";
        for (uint256 i = 0; i < others.length; i++) {
            bool isPayee = others[i] == PAYEE;
            bytes4 wanted = isPayee ? KeySale.PayeeCannotBuy.selector : ITokenErrors.InsufficientAllowance.selector;
            assertRefused(others[i], abi.encodeCall(KeySale.topUp, (BUYER, MINIMUM)), wanted);
            assertRefused(others[i], abi.encodeCall(KeySale.buy, (KEY, 1)), wanted);
            if (!isPayee) assertRefused(others[i], abi.encodeCall(KeySale.close, ()), KeySale.NotPayee.selector);
            assertRefused(others[i], abi.encodeWithSignature("transferOwnership(address)", others[i]), nothing);
            assertRefused(others[i], abi.encodeWithSignature("withdraw()"), nothing);
            assertRefused(others[i], nothing, nothing);
        }
        assertMoney(0, 0);
    }
}
