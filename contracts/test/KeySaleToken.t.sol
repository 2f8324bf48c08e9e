// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {ICheats, IToken, Issuer} from "./Chain.sol";

/// A sale for a token whose issuer pauses it and forbids accounts.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleTokenTest is Issuer {
    error PolicyForbids();

    ICheats private constant cheats = ICheats(address(vm));
    address private constant PAYEE = address(0xBEE);
    address private constant BUYER = address(0xB0B);

    IToken private token;
    KeySale private sale;

    function setUp() public {
        token = issue();
        token.mint(BUYER, 100e6);
        sale = made("USD");
        cheats.prank(BUYER);
        token.approve(address(sale), type(uint256).max);
    }

    function made(string memory currency) private returns (KeySale) {
        uint256[] memory prices = new uint256[](1);
        prices[0] = 10e6;
        address other = address(token);
        if (keccak256(bytes(currency)) != keccak256("USD")) {
            other = FACTORY.createToken("Test", "TEST", currency, QUOTE_TOKEN, address(this), bytes32(bytes(currency)));
        }
        return new KeySale(other, PAYEE, 1e6, prices);
    }

    function assertRefused(bytes4 wanted) private {
        bytes[2] memory calls = [abi.encodeCall(KeySale.buy, ("key", 1)), abi.encodeCall(KeySale.topUp, (BUYER, 10e6))];
        for (uint256 i = 0; i < calls.length; i++) {
            cheats.prank(BUYER);
            (bool ok, bytes memory got) = address(sale).call(calls[i]);
            assertEq(ok, false);
            assertEq(got, abi.encodeWithSelector(wanted));
        }
        assertEq(sale.bought(BUYER, "key"), false);
        assertEq(sale.sales(), 0);
        assertEq(token.balanceOf(BUYER), 100e6);
    }

    function test_a_paused_token_buys_nothing() external {
        token.pause();
        assertRefused(IToken.ContractPaused.selector);
    }

    function test_a_buyer_who_may_not_send_buys_nothing() external {
        forbidSending(BUYER);
        assertRefused(PolicyForbids.selector);
    }

    /// The payee can still end a sale that nobody can buy from.
    function test_a_payee_who_may_not_receive_sells_nothing() external {
        forbidReceiving(PAYEE);
        assertRefused(PolicyForbids.selector);
        cheats.prank(PAYEE);
        sale.close();
        assertRefused(KeySale.SaleClosed.selector);
    }

    /// The sale is the spender of an allowance and never an owner of money: the policies do not ask about it.
    function test_what_the_policies_say_of_the_sale_itself_does_not_matter() external {
        forbidSending(address(sale));
        forbidReceiving(address(sale));
        cheats.prank(BUYER);
        sale.buy("key", 1);
        assertEq(token.balanceOf(PAYEE), 10e6);
    }

    function test_a_token_of_another_currency_is_not_taken() external {
        try this.make("EUR") {
            revert("made");
        } catch (bytes memory got) {
            assertEq(got, abi.encodeWithSelector(KeySale.NotADollarToken.selector));
        }
        made("USD");
    }

    function make(string calldata currency) external {
        made(currency);
    }
}
