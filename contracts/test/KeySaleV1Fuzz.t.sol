// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeySaleV1} from "../src/KeySaleV1.sol";
import {ITokenErrors} from "./SaleBase.t.sol";
import {KeySaleV1Base} from "./KeySaleV1Base.t.sol";

/// Whatever is asked, by whomever: a purchase keeps every rule, or nothing happens.
/// forge-config: default.hardfork = "tempo:T4"
contract KeySaleV1FuzzTest is KeySaleV1Base {
    function testFuzz_buy(bytes32 key, uint256 pack, address owner, uint256 allowance) external {
        pack %= 5;
        allowance %= 200e6;
        approve(BUYER, allowance);
        bytes memory call = abi.encodeCall(KeySaleV1.buy, (key, pack, owner));
        if (key == 0) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.ZeroKeyHash.selector));
        } else if (owner == address(0)) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.ZeroOwner.selector));
        } else if (pack == 0 || pack > 3) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.UnknownPack.selector, pack));
        } else if (allowance < prices()[pack - 1]) {
            assertRefused(BUYER, call, abi.encodeWithSelector(ITokenErrors.InsufficientAllowance.selector));
            assertEq(sale.bought(key), false);
        } else {
            uint256 price = prices()[pack - 1];
            expectEvent();
            emit KeySaleV1.KeyBought(key, owner, pack, price, BUYER);
            buy(BUYER, key, pack, owner);
            assertMoney(price, 1);
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.KeyAlreadyBought.selector, key));
        }
    }

    function testFuzz_topUp(address owner, uint256 amount, uint256 allowance) external {
        // Amounts of every size: within the balance, beyond it, and beyond what can be sold.
        amount >>= amount % 256;
        allowance >>= allowance % 256;
        approve(BUYER, allowance);
        bytes memory call = abi.encodeCall(KeySaleV1.topUp, (owner, amount));
        if (owner == address(0)) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.ZeroOwner.selector));
        } else if (amount == 0) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.ZeroAmount.selector));
        } else if (amount > sale.MAX_AMOUNT()) {
            assertRefused(BUYER, call, abi.encodeWithSelector(KeySaleV1.AmountTooLarge.selector));
        } else if (amount > allowance) {
            assertRefused(BUYER, call, abi.encodeWithSelector(ITokenErrors.InsufficientAllowance.selector));
        } else {
            expectEvent();
            emit KeySaleV1.ToppedUp(owner, amount, BUYER);
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
        (bool ok,) = address(sale).call(abi.encodeCall(KeySaleV1.topUp, (BUYER, 1 + amount % held)));
        assertEq(ok, false);
        cheats.prank(caller);
        (ok,) = address(sale).call(abi.encodeCall(KeySaleV1.buy, (bytes32(amount), 1, caller)));
        assertEq(ok, false);
        assertEq(TOKEN.balanceOf(caller), own);
        assertMoney(0, 0);
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
                bool again = sale.bought(key);
                cheats.prank(BUYER);
                (bool ok,) = address(sale).call(abi.encodeCall(KeySaleV1.buy, (key, pack, OWNER)));
                assertEq(ok, !again);
                if (ok) (paid, sales) = (paid + prices()[pack - 1], sales + 1);
            } else {
                uint256 amount = 1 + (seed >> 8) % 1e12;
                topUp(BUYER, OWNER, amount);
                (paid, sales) = (paid + amount, sales + 1);
            }
            assertMoney(paid, sales);
        }
    }

    /// A sale asks the prices that it was made with.
    function testFuzz_prices(uint64[] calldata given) external {
        uint256[] memory list = new uint256[](given.length % 8 + 1);
        bool allowed = true;
        for (uint256 i = 0; i < list.length; i++) {
            list[i] = i < given.length ? given[i] : i + 1;
            allowed = allowed && list[i] != 0 && list[i] <= sale.MAX_AMOUNT();
        }
        try new KeySaleV1(address(TOKEN), PAYEE, list) returns (KeySaleV1 made) {
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
