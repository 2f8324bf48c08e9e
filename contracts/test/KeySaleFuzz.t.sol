// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySale} from "../src/KeySale.sol";
import {KeySaleBase} from "./KeySaleBase.t.sol";
import {ITokenErrors} from "./SaleBase.t.sol";

/// Whatever is asked, by whomever: a purchase keeps every rule, or nothing happens.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleFuzzTest is KeySaleBase {
    function testFuzz_buy(bytes32 key, uint256 pack, uint256 allowance) external {
        pack %= 5;
        allowance %= 200e6;
        approve(BUYER, allowance);
        bytes memory call = abi.encodeCall(KeySale.buy, (key, pack));
        if (key == 0) {
            assertRefused(BUYER, call, KeySale.ZeroKeyHash.selector);
        } else if (pack == 0 || pack > 3) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySale.UnknownPack.selector, pack));
        } else if (allowance < prices()[pack - 1]) {
            assertRefused(BUYER, call, ITokenErrors.InsufficientAllowance.selector);
            assertEq(sale.bought(BUYER, key), false);
        } else {
            uint256 price = prices()[pack - 1];
            expectEvent();
            emit KeySale.KeyBought(key, BUYER, pack, price);
            buy(BUYER, key, pack);
            assertMoney(price, 1);
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySale.KeyAlreadyBought.selector, key));
        }
    }

    function testFuzz_topUp(address owner, uint256 amount, uint256 allowance) external {
        // Amounts of every size: within the balance, beyond it, and beyond what can be sold.
        amount >>= amount % 256;
        allowance >>= allowance % 256;
        approve(BUYER, allowance);
        bytes memory call = abi.encodeCall(KeySale.topUp, (owner, amount));
        if (owner == address(0)) {
            assertRefused(BUYER, call, KeySale.ZeroOwner.selector);
        } else if (amount < MINIMUM) {
            assertRefused(BUYER, call, KeySale.AmountTooSmall.selector);
        } else if (amount > sale.MAX_AMOUNT()) {
            assertRefused(BUYER, call, KeySale.AmountTooLarge.selector);
        } else if (amount > allowance) {
            assertRefused(BUYER, call, ITokenErrors.InsufficientAllowance.selector);
        } else {
            expectEvent();
            emit KeySale.ToppedUp(owner, amount, BUYER);
            topUp(BUYER, owner, amount);
            assertMoney(amount, 1);
        }
    }

    /// A caller spends its own money and nobody else's, whoever it is and whomever it buys for.
    function testFuzz_only_the_caller_pays(address caller, uint256 amount) external {
        if (caller == BUYER || caller == PAYEE || caller == address(0)) return;
        if (bytes12(bytes20(caller)) == 0x20C000000000000000000000) return;
        uint256 own = TOKEN.balanceOf(caller);
        cheats.prank(caller);
        (bool ok,) = address(sale).call(abi.encodeCall(KeySale.topUp, (BUYER, MINIMUM + amount % (held - MINIMUM))));
        assertEq(ok, false);
        cheats.prank(caller);
        (ok,) = address(sale).call(abi.encodeCall(KeySale.buy, (bytes32(amount), 1)));
        assertEq(ok, false);
        assertEq(TOKEN.balanceOf(caller), own);
        assertMoney(0, 0);
    }

    function testFuzz_only_the_payee_ends_the_sale(address caller) external {
        if (caller == PAYEE) return;
        assertRefused(caller, abi.encodeCall(KeySale.close, ()), KeySale.NotPayee.selector);
    }

    /// Any mixture of purchases: what the payee has is what was sold, and what was sold was counted.
    function testFuzz_many_purchases_add_up(uint256 seed) external {
        uint256 paid = 0;
        uint256 sales = 0;
        for (uint256 i = 0; i < 12; i++) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (seed % 2 == 0) {
                // Few different keys, so that some come twice.
                bytes32 key = bytes32(1 + (seed >> 8) % 4);
                uint256 pack = 1 + (seed >> 16) % 3;
                bool again = sale.bought(BUYER, key);
                cheats.prank(BUYER);
                (bool ok,) = address(sale).call(abi.encodeCall(KeySale.buy, (key, pack)));
                assertEq(ok, !again);
                if (ok) (paid, sales) = (paid + prices()[pack - 1], sales + 1);
            } else {
                uint256 amount = MINIMUM + (seed >> 8) % 1e12;
                topUp(BUYER, OWNER, amount);
                (paid, sales) = (paid + amount, sales + 1);
            }
            assertMoney(paid, sales);
        }
    }

    /// A sale asks the prices that it was made with.
    function testFuzz_prices(uint64 minimum, uint64[] calldata given) external {
        uint256[] memory list = new uint256[](given.length % 22 + 1);
        bool allowed = minimum != 0 && list.length <= sale.MAX_PACKS();
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = i < given.length ? given[i] : minimum;
            allowed = allowed && list[i] >= minimum && list[i] <= sale.MAX_AMOUNT();
        }
        try new KeySale(address(TOKEN), PAYEE, minimum, list) returns (KeySale made) {
            assertEq(allowed, true);
            for (uint256 i = 0; i < list.length; i++) {
                assertEq(made.priceOf(i + 1), list[i]);
            }
            assertEq(abi.encode(made.packs()), abi.encode(list));
        } catch {
            assertEq(allowed, false);
        }
    }
}
