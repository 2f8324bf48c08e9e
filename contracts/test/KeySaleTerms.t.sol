// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {KeySaleBase} from "./KeySaleBase.t.sol";

interface ITokenTerms {
    function decimals() external view returns (uint8);
    function currency() external view returns (string memory);
}

interface IAddresses {
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getNonce(address account) external view returns (uint64);
    function roll(uint256 number) external;
}

/// The terms that a sale can be made with.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleTermsTest is KeySaleBase {
    IAddresses private constant addresses = IAddresses(address(vm));

    function made(uint256 minimum, uint256[] memory list) private returns (KeySale) {
        return new KeySale(address(TOKEN), PAYEE, minimum, list);
    }

    function one(uint256 price) private pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = price;
    }

    function test_a_sale_needs_a_token() external {
        assertNotMade(address(0xBAD), PAYEE, MINIMUM, prices(), KeySale.NotADollarToken.selector);
        assertNotMade(address(0), PAYEE, MINIMUM, prices(), KeySale.NotADollarToken.selector);
        // One bit away from a token's address.
        address near = address(uint160(address(TOKEN)) ^ (1 << 64));
        assertNotMade(near, PAYEE, MINIMUM, prices(), KeySale.NotADollarToken.selector);
    }

    function test_a_sale_needs_a_token_of_six_decimals_in_dollars() external {
        uint8[3] memory decimals = [0, 5, 7];
        for (uint256 i = 0; i < decimals.length; i++) {
            cheats.mockCall(address(TOKEN), abi.encodeCall(ITokenTerms.decimals, ()), abi.encode(decimals[i]));
            assertNotMade(address(TOKEN), PAYEE, MINIMUM, prices(), KeySale.NotADollarToken.selector);
        }
        cheats.mockCall(address(TOKEN), abi.encodeCall(ITokenTerms.decimals, ()), abi.encode(6));
        string[4] memory currencies = ["EUR", "usd", "", "USDC"];
        for (uint256 i = 0; i < currencies.length; i++) {
            cheats.mockCall(address(TOKEN), abi.encodeCall(ITokenTerms.currency, ()), abi.encode(currencies[i]));
            assertNotMade(address(TOKEN), PAYEE, MINIMUM, prices(), KeySale.NotADollarToken.selector);
        }
        cheats.mockCall(address(TOKEN), abi.encodeCall(ITokenTerms.currency, ()), abi.encode("USD"));
        made(MINIMUM, prices());
    }

    function test_a_sale_needs_a_payee_who_can_be_paid_and_can_end_it() external {
        address[4] memory refused = [
            address(0),
            address(TOKEN),
            0x20C000000000000000000000FFfffFFFfFfFfFFf,
            0x07a3B1c2fdFDfDfDFDFdfdFDFDFDD4E5A7C3F19e
        ];
        for (uint256 i = 0; i < refused.length; i++) {
            assertNotMade(address(TOKEN), refused[i], MINIMUM, prices(), KeySale.InvalidPayee.selector);
        }
        address self = addresses.computeCreateAddress(address(this), addresses.getNonce(address(this)));
        assertNotMade(address(TOKEN), self, MINIMUM, prices(), KeySale.InvalidPayee.selector);
        // One bit away from a token, and from a virtual address at either end of what marks it.
        address[3] memory taken = [
            0x20C000000000000000000001FFFfffFfffffFfFF,
            0x07a3B1C2FCfdFDfdfdFdfdfdfdFdD4e5a7c3F19e,
            0x07a3b1c2fdfDFDfdFDfdfDFDfDfcD4E5a7c3f19E
        ];
        for (uint256 i = 0; i < taken.length; i++) {
            KeySale other = new KeySale(address(TOKEN), taken[i], MINIMUM, prices());
            assertEq(uint256(uint160(other.payee())), uint256(uint160(taken[i])));
        }
    }

    function test_a_sale_needs_a_minimum_that_no_pack_is_below() external {
        assertNotMade(address(TOKEN), PAYEE, 0, prices(), KeySale.ZeroMinimum.selector);
        assertNotMade(address(TOKEN), PAYEE, 10e6 + 1, prices(), KeySale.AmountTooSmall.selector);
        assertNotMade(address(TOKEN), PAYEE, 1, one(0), KeySale.AmountTooSmall.selector);
        uint256[] memory list = prices();
        list[2] = MINIMUM - 1;
        assertNotMade(address(TOKEN), PAYEE, MINIMUM, list, KeySale.AmountTooSmall.selector);
        assertEq(made(10e6, prices()).minimum(), 10e6);
        assertEq(made(1, one(1)).priceOf(1), 1);
    }

    function test_a_sale_has_one_to_sixteen_packs() external {
        assertNotMade(address(TOKEN), PAYEE, MINIMUM, new uint256[](0), KeySale.NoPacks.selector);
        uint256[] memory list = new uint256[](17);
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = MINIMUM + i;
        }
        assertNotMade(address(TOKEN), PAYEE, MINIMUM, list, KeySale.TooManyPacks.selector);
        assembly ("memory-safe") {
            mstore(list, 16)
        }
        KeySale other = made(MINIMUM, list);
        assertEq(other.packs().length, 16);
        assertEq(other.priceOf(16), MINIMUM + 15);
    }

    /// The program deploys every sale with this limit of gas.
    function test_the_longest_list_is_deployed_within_twelve_million_gas() external {
        uint256[] memory list = new uint256[](sale.MAX_PACKS());
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = type(uint56).max - i;
        }
        uint256 gas = gasleft();
        made(type(uint32).max, list);
        // What the transaction itself costs comes on top.
        assertEq(gas - gasleft() < 11_500_000, true);
    }

    function test_the_limits_are_these_numbers() external {
        assertEq(sale.MAX_AMOUNT(), 9_223_372_036_854_775_807);
        assertEq(sale.MAX_PACKS(), 16);
        uint256[] memory list = prices();
        list[2] = 9_223_372_036_854_775_808;
        assertNotMade(address(TOKEN), PAYEE, MINIMUM, list, KeySale.AmountTooLarge.selector);
        list[2] = 9_223_372_036_854_775_807;
        assertEq(made(MINIMUM, list).priceOf(3), 9_223_372_036_854_775_807);
        // All that there is can be the minimum, too.
        list = one(9_223_372_036_854_775_807);
        assertEq(made(9_223_372_036_854_775_807, list).minimum(), 9_223_372_036_854_775_807);
    }

    function test_terms_are_asked_in_this_order() external {
        uint256[] memory none = new uint256[](0);
        uint256[] memory many = new uint256[](17);
        assertNotMade(address(0xBAD), address(0), 0, none, KeySale.NotADollarToken.selector);
        assertNotMade(address(TOKEN), address(0), 0, none, KeySale.InvalidPayee.selector);
        assertNotMade(address(TOKEN), PAYEE, 0, none, KeySale.ZeroMinimum.selector);
        assertNotMade(address(TOKEN), PAYEE, 1, none, KeySale.NoPacks.selector);
        assertNotMade(address(TOKEN), PAYEE, 1, many, KeySale.TooManyPacks.selector);
        // A price that is too small and too large at once, and the first of two that are wrong.
        assertNotMade(address(TOKEN), PAYEE, type(uint256).max, one(1 << 64), KeySale.AmountTooSmall.selector);
        uint256[] memory list = prices();
        (list[0], list[1]) = (1 << 64, 0);
        assertNotMade(address(TOKEN), PAYEE, 1, list, KeySale.AmountTooLarge.selector);
    }

    function test_a_sale_knows_its_first_block() external {
        addresses.roll(77);
        assertEq(made(MINIMUM, prices()).firstBlock(), 77);
        addresses.roll(78);
        assertEq(sale.firstBlock(), 1);
    }

    function assertNotMade(address token, address payee, uint256 minimum, uint256[] memory list, bytes4 wanted)
        private
    {
        try new KeySale(token, payee, minimum, list) {
            revert("made");
        } catch (bytes memory got) {
            assertEq(got, abi.encodeWithSelector(wanted));
        }
    }
}
