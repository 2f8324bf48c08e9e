// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySaleV1} from "../src/KeySaleV1.sol";
import {ITokenErrors} from "./SaleBase.t.sol";
import {KeySaleV1Base} from "./KeySaleV1Base.t.sol";

interface ITransferFrom {
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleV1Test is KeySaleV1Base {
    function test_a_key_is_paid_to_the_payee_and_announced() external {
        expectEvent();
        emit KeySaleV1.KeyBought(KEY, OWNER, 2, 25e6, BUYER);
        buy(BUYER, KEY, 2, OWNER);
        assertMoney(25e6, 1);
        assertEq(sale.bought(KEY), true);
    }

    function test_credit_is_paid_to_the_payee_and_announced() external {
        expectEvent();
        emit KeySaleV1.ToppedUp(OWNER, 1, BUYER);
        topUp(BUYER, OWNER, 1);
        assertMoney(1, 1);
    }

    function test_the_terms_are_public() external view {
        assertEq(uint256(uint160(sale.token())), uint256(uint160(address(TOKEN))));
        assertEq(uint256(uint160(sale.payee())), uint256(uint160(PAYEE)));
        assertEq(sale.firstBlock(), block.number);
        assertEq(abi.encode(sale.packs()), abi.encode(prices()));
        assertEq(sale.priceOf(1), 10e6);
        assertEq(sale.priceOf(3), 100e6);
        assertEq(sale.bought(KEY), false);
    }

    function test_a_key_is_bought_once() external {
        buy(BUYER, KEY, 1, OWNER);
        TOKEN.transfer(STRANGER, 100e6);
        approve(STRANGER, 100e6);
        bytes memory wanted = abi.encodeWithSelector(KeySaleV1.KeyAlreadyBought.selector, KEY);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (KEY, 1, OWNER)), wanted);
        assertRefused(STRANGER, abi.encodeCall(KeySaleV1.buy, (KEY, 3, STRANGER)), wanted);
        buy(BUYER, keccak256("another secret"), 1, OWNER);
        assertMoney(20e6, 2);
    }

    function test_nothing_is_sold_to_nobody_or_for_nothing() external {
        bytes memory zeroOwner = abi.encodeWithSelector(KeySaleV1.ZeroOwner.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (KEY, 1, address(0))), zeroOwner);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.topUp, (address(0), 1)), zeroOwner);
        bytes memory zeroKey = abi.encodeWithSelector(KeySaleV1.ZeroKeyHash.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (0, 1, OWNER)), zeroKey);
        bytes memory zeroAmount = abi.encodeWithSelector(KeySaleV1.ZeroAmount.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.topUp, (OWNER, 0)), zeroAmount);
        for (uint256 pack = 0; pack < 8; pack += 4) {
            bytes memory unknown = abi.encodeWithSelector(KeySaleV1.UnknownPack.selector, pack);
            assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (KEY, pack, OWNER)), unknown);
        }
        bytes memory tooLarge = abi.encodeWithSelector(KeySaleV1.AmountTooLarge.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.topUp, (OWNER, sale.MAX_AMOUNT() + 1)), tooLarge);
    }

    function test_a_payment_that_fails_sells_nothing_and_says_why() external {
        approve(BUYER, 10e6 - 1);
        bytes memory allowance = abi.encodeWithSelector(ITokenErrors.InsufficientAllowance.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (KEY, 1, OWNER)), allowance);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.topUp, (OWNER, 10e6)), allowance);

        TOKEN.transfer(STRANGER, 9);
        approve(STRANGER, type(uint256).max);
        bytes memory balance = abi.encodeWithSelector(ITokenErrors.InsufficientBalance.selector, 9, 10, address(TOKEN));
        assertRefused(STRANGER, abi.encodeCall(KeySaleV1.topUp, (STRANGER, 10)), balance);

        // The key is still for sale.
        approve(BUYER, 10e6);
        buy(BUYER, KEY, 1, OWNER);
        assertMoney(10e6, 1);
    }

    /// Tempo's tokens revert; one that only says "no" is not believed to have paid.
    function test_a_token_that_says_no_sells_nothing() external {
        bytes memory transfer = abi.encodeCall(ITransferFrom.transferFrom, (BUYER, PAYEE, 10e6));
        cheats.mockCall(address(TOKEN), transfer, abi.encode(false));
        bytes memory wanted = abi.encodeWithSelector(KeySaleV1.TransferFailed.selector);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.buy, (KEY, 1, OWNER)), wanted);
        assertRefused(BUYER, abi.encodeCall(KeySaleV1.topUp, (OWNER, 10e6)), wanted);
        assertEq(sale.bought(KEY), false);
    }

    /// Not the payee, not whoever deployed it: there is nothing to call but the two purchases.
    function test_nobody_has_power_over_an_allowance_or_the_terms() external {
        address[3] memory others = [PAYEE, address(this), STRANGER];
        bytes memory allowance = abi.encodeWithSelector(ITokenErrors.InsufficientAllowance.selector);
        for (uint256 i = 0; i < others.length; i++) {
            assertRefused(others[i], abi.encodeCall(KeySaleV1.topUp, (BUYER, 1)), allowance);
            assertRefused(others[i], abi.encodeCall(KeySaleV1.buy, (KEY, 1, BUYER)), allowance);
            assertRefused(others[i], abi.encodeWithSignature("transferOwnership(address)", others[i]), "");
            assertRefused(others[i], abi.encodeWithSignature("withdraw()"), "");
            assertRefused(others[i], "", "");
        }
        assertMoney(0, 0);
    }

    function test_a_sale_without_token_payee_or_prices_is_not_made() external {
        assertNotMade(address(0xBAD), PAYEE, prices(), KeySaleV1.NotATip20Token.selector);
        assertNotMade(address(0), PAYEE, prices(), KeySaleV1.NotATip20Token.selector);
        assertNotMade(address(TOKEN), address(0), prices(), KeySaleV1.ZeroPayee.selector);
        assertNotMade(address(TOKEN), PAYEE, new uint256[](0), KeySaleV1.NoPacks.selector);
        assertNotMade(address(TOKEN), PAYEE, new uint256[](2), KeySaleV1.ZeroPrice.selector);
        uint256[] memory huge = prices();
        huge[2] = sale.MAX_AMOUNT() + 1;
        assertNotMade(address(TOKEN), PAYEE, huge, KeySaleV1.AmountTooLarge.selector);
    }

    function assertNotMade(address token, address payee, uint256[] memory list, bytes4 wanted) private {
        try new KeySaleV1(token, payee, list) {
            revert("made");
        } catch (bytes memory got) {
            assertEq(got, abi.encodeWithSelector(wanted));
        }
    }
}
