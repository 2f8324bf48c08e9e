// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// No unit of money is made or lost, whatever the amounts.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveFuzzTest is ChannelReserveBase {
    uint256 private held;

    function setUp() public override {
        super.setUp();
        held = token.balanceOf(payer);
    }

    /// A number between `low` and `high`, both included.
    function between(uint256 seed, uint256 low, uint256 high) private pure returns (uint96) {
        return uint96(low + seed % (high - low + 1));
    }

    /// Where all of the payer's money is, while `deposit` of it is in the channel or was.
    function assertMoney(uint256 payee, uint256 reserve) private view {
        assertEq(token.balanceOf(PAYEE), payee);
        assertEq(token.balanceOf(address(RESERVE)), reserve);
        assertEq(token.balanceOf(payer), held - payee - reserve);
    }

    function testFuzz_settle_then_close(uint256 a, uint256 b, uint256 c, uint256 e) external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        uint96 deposit = between(a, 1, held);
        bytes32 id = open(d, deposit);
        assertMoney(0, deposit);

        uint96 settled = between(b, 1, deposit);
        settle(d, settled);
        assertState(id, settled, deposit, 0);
        assertMoney(settled, deposit - settled);

        uint96 capture = between(c, settled, deposit);
        uint96 cumulative = between(e, capture, type(uint96).max);
        bytes memory signature = voucher(PAYER_KEY, id, cumulative);
        cheats.prank(PAYEE);
        RESERVE.close(d, cumulative, capture, signature);
        assertGone(id);
        assertMoney(capture, 0);
    }

    function testFuzz_topUp_then_withdraw(uint256 a, uint256 b, uint256 c, uint256 wait) external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        uint96 deposit = between(a, 1, held - 1);
        bytes32 id = open(d, deposit);
        uint96 more = between(b, 1, held - deposit);
        cheats.prank(payer);
        RESERVE.topUp(d, more);
        assertMoney(0, uint256(deposit) + more);

        uint96 settled = between(c, 1, deposit + more);
        settle(d, settled);
        requestClose(d);
        wait = between(wait, 0, 2000);
        cheats.warp(block.timestamp + wait);
        if (wait < 900) expectRevert(ChannelReserve.CloseNotReady.selector);
        cheats.prank(payer);
        RESERVE.withdraw(d);
        assertMoney(settled, wait < 900 ? uint256(deposit) + more - settled : 0);
        if (wait >= 900) assertGone(id);
    }

    /// Any amounts at all: either a call keeps every rule, or it changes nothing.
    function testFuzz_close_with_any_amounts(uint96 settled, uint96 cumulative, uint96 capture) external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settled = between(settled, 1, DEPOSIT);
        settle(d, settled);
        cumulative = between(cumulative, 0, 2 * DEPOSIT);
        capture = between(capture, 0, 2 * DEPOSIT);
        bool allowed = settled <= capture && capture <= cumulative && capture <= DEPOSIT;

        bytes memory signature = voucher(PAYER_KEY, id, cumulative);
        cheats.prank(PAYEE);
        (bool ok,) = address(RESERVE).call(abi.encodeCall(ChannelReserve.close, (d, cumulative, capture, signature)));
        assertEq(ok, allowed);
        if (allowed) {
            assertGone(id);
            assertMoney(capture, 0);
        } else {
            assertState(id, settled, DEPOSIT, 0);
            assertMoney(settled, DEPOSIT - settled);
        }
    }

    function testFuzz_settle_with_any_amount(uint96 amount) external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 10);
        amount = between(amount, 0, 2 * DEPOSIT);
        bytes memory signature = voucher(PAYER_KEY, id, amount);
        cheats.prank(PAYEE);
        (bool ok,) = address(RESERVE).call(abi.encodeCall(ChannelReserve.settle, (d, amount, signature)));
        assertEq(ok, 10 < amount && amount <= DEPOSIT);
        uint96 settled = ok ? amount : 10;
        assertState(id, settled, DEPOSIT, 0);
        assertMoney(settled, DEPOSIT - settled);
    }
}
