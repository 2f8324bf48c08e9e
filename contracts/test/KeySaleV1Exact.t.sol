// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySaleV1} from "../src/KeySaleV1.sol";
import {KeySaleV1Base} from "./KeySaleV1Base.t.sol";
import {ITokenErrors} from "./SaleBase.t.sol";
import {Logs} from "./Logs.sol";

interface IBlockCheats {
    function roll(uint256 number) external;
}

/// Everything that the first sale emits, its order of checks, and its limits: what has to be known of it for ever.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleV1ExactTest is KeySaleV1Base, Logs {
    function word(address account) private pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    function test_a_key_is_announced_directly_before_its_payment() external {
        startLogs();
        buy(BUYER, KEY, 2, OWNER);
        bytes32[] memory topics = new bytes32[](3);
        topics[0] = keccak256("KeyBought(bytes32,address,uint256,uint256,address)");
        topics[1] = KEY;
        topics[2] = word(OWNER);
        wantLog(address(sale), topics, abi.encode(2, 25e6, BUYER));
        wantTransfer(address(TOKEN), BUYER, PAYEE, 25e6);
        assertLogs();
    }

    function test_credit_is_announced_directly_before_its_payment() external {
        startLogs();
        topUp(BUYER, OWNER, 5);
        bytes32[] memory topics = new bytes32[](2);
        topics[0] = keccak256("ToppedUp(address,uint256,address)");
        topics[1] = word(OWNER);
        wantLog(address(sale), topics, abi.encode(5, BUYER));
        wantTransfer(address(TOKEN), BUYER, PAYEE, 5);
        assertLogs();
    }

    function test_making_a_sale_announces_nothing() external {
        startLogs();
        new KeySaleV1(address(TOKEN), PAYEE, prices());
        assertLogs();
    }

    function test_buy_asks_in_this_order() external {
        buy(BUYER, KEY, 1, OWNER);
        approve(BUYER, 0);
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.buy, (0, 4, address(0))),
            abi.encodeWithSelector(KeySaleV1.ZeroKeyHash.selector)
        );
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.buy, (KEY, 4, address(0))),
            abi.encodeWithSelector(KeySaleV1.ZeroOwner.selector)
        );
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.buy, (KEY, 4, OWNER)),
            abi.encodeWithSelector(KeySaleV1.KeyAlreadyBought.selector, KEY)
        );
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.buy, (keccak256("another secret"), 4, OWNER)),
            abi.encodeWithSelector(KeySaleV1.UnknownPack.selector, 4)
        );
    }

    function test_topUp_asks_in_this_order() external {
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.topUp, (address(0), 0)),
            abi.encodeWithSelector(KeySaleV1.ZeroOwner.selector)
        );
        approve(BUYER, 0);
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.topUp, (OWNER, 9_223_372_036_854_775_808)),
            abi.encodeWithSelector(KeySaleV1.AmountTooLarge.selector)
        );
        assertRefused(
            BUYER,
            abi.encodeCall(KeySaleV1.topUp, (OWNER, 9_223_372_036_854_775_807)),
            abi.encodeWithSelector(ITokenErrors.InsufficientAllowance.selector)
        );
    }

    function test_the_limits_are_these_numbers() external {
        assertEq(sale.MAX_AMOUNT(), 9_223_372_036_854_775_807);
        uint256[] memory list = prices();
        list[2] = 9_223_372_036_854_775_807;
        assertEq(new KeySaleV1(address(TOKEN), PAYEE, list).priceOf(3), 9_223_372_036_854_775_807);
        list[2] = 0;
        assertNotMade(address(TOKEN), PAYEE, list, KeySaleV1.ZeroPrice.selector);
    }

    function test_terms_are_asked_in_this_order() external {
        uint256[] memory none = new uint256[](0);
        assertNotMade(address(0xBAD), address(0), none, KeySaleV1.NotATip20Token.selector);
        assertNotMade(address(TOKEN), address(0), none, KeySaleV1.ZeroPayee.selector);
        assertNotMade(address(TOKEN), PAYEE, none, KeySaleV1.NoPacks.selector);
    }

    function assertNotMade(address token, address payee, uint256[] memory list, bytes4 wanted) private {
        try new KeySaleV1(token, payee, list) {
            revert("made");
        } catch (bytes memory got) {
            assertEq(got, abi.encodeWithSelector(wanted));
        }
    }

    function test_a_sale_knows_its_first_block() external {
        IBlockCheats(address(vm)).roll(77);
        assertEq(new KeySaleV1(address(TOKEN), PAYEE, prices()).firstBlock(), 77);
        assertEq(sale.firstBlock(), 1);
    }

    function test_a_token_has_six_decimals() external {
        uint8[2] memory decimals = [5, 7];
        for (uint256 i = 0; i < decimals.length; i++) {
            cheats.mockCall(address(TOKEN), abi.encodeWithSignature("decimals()"), abi.encode(decimals[i]));
            assertNotMade(address(TOKEN), PAYEE, prices(), KeySaleV1.NotATip20Token.selector);
        }
    }
}
