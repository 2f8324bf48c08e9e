// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// `topUp`, `requestClose` and `withdraw`, the payer's side.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReservePayerTest is ChannelReserveBase {
    function topUp(ChannelReserve.ChannelDescriptor memory d, uint96 amount) private {
        cheats.prank(payer);
        RESERVE.topUp(d, amount);
    }

    function withdraw(ChannelReserve.ChannelDescriptor memory d) private {
        cheats.prank(payer);
        RESERVE.withdraw(d);
    }

    function test_topUp_adds_to_the_deposit() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        uint256 held = token.balanceOf(payer);
        expectEvent();
        emit ChannelReserve.TopUp(id, payer, PAYEE, 50, DEPOSIT + 50);
        topUp(d, 50);
        assertState(id, 0, DEPOSIT + 50, 0);
        assertEq(token.balanceOf(payer), held - 50);
        assertEq(token.balanceOf(address(RESERVE)), DEPOSIT + 50);
    }

    function test_topUp_withdraws_a_request_to_close_also_when_it_adds_nothing() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        for (uint96 amount = 0; amount < 2; ++amount) {
            requestClose(d);
            expectEvent();
            emit ChannelReserve.CloseRequestCancelled(id, payer, PAYEE);
            expectEvent();
            emit ChannelReserve.TopUp(id, payer, PAYEE, amount, DEPOSIT + amount);
            topUp(d, amount);
            assertState(id, 0, DEPOSIT + amount, 0);
        }
    }

    function test_topUp_of_nothing_does_nothing() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        topUp(d, 0);
        assertState(id, 0, DEPOSIT, 0);
    }

    function test_topUp_refuses_a_deposit_that_does_not_fit() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        expectRevert(ChannelReserve.DepositOverflow.selector);
        topUp(d, type(uint96).max - DEPOSIT + 1);
        assertState(id, 0, DEPOSIT, 0);
    }

    function test_requestClose_starts_the_time_of_grace_once() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        uint256 asked = block.timestamp;
        expectEvent();
        emit ChannelReserve.CloseRequested(id, payer, PAYEE, asked + 900);
        requestClose(d);
        cheats.warp(asked + 600);
        requestClose(d);
        assertState(id, 0, DEPOSIT, asked);
    }

    function test_withdraw_returns_what_is_not_settled_after_the_time_of_grace() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        uint256 held = token.balanceOf(payer);
        uint256 asked = block.timestamp;
        settle(d, 30);
        requestClose(d);

        cheats.warp(asked + 899);
        expectRevert(ChannelReserve.CloseNotReady.selector);
        withdraw(d);

        cheats.warp(asked + 900);
        expectEvent();
        emit ChannelReserve.ChannelClosed(id, payer, PAYEE, 30, DEPOSIT - 30);
        withdraw(d);
        assertGone(id);
        assertEq(token.balanceOf(payer), held + DEPOSIT - 30);
        assertEq(token.balanceOf(PAYEE), 30);
        assertEq(token.balanceOf(address(RESERVE)), 0);
    }

    function test_withdraw_of_a_channel_that_is_settled_whole_closes_it() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, DEPOSIT);
        requestClose(d);
        cheats.warp(block.timestamp + 900);
        withdraw(d);
        assertGone(id);
    }

    function test_withdraw_needs_a_request_that_still_stands() external {
        (ChannelReserve.ChannelDescriptor memory d,) = opened();
        expectRevert(ChannelReserve.CloseNotReady.selector);
        withdraw(d);

        requestClose(d);
        topUp(d, 0);
        cheats.warp(block.timestamp + 900);
        expectRevert(ChannelReserve.CloseNotReady.selector);
        withdraw(d);
    }

    function test_only_the_payer_is_on_the_payers_side() external {
        (ChannelReserve.ChannelDescriptor memory d,) = opened();
        address[3] memory refused = [PAYEE, OPERATOR, stranger];
        for (uint256 i = 0; i < refused.length; ++i) {
            expectRevert(ChannelReserve.NotPayer.selector);
            cheats.prank(refused[i]);
            RESERVE.topUp(d, 0);
            expectRevert(ChannelReserve.NotPayer.selector);
            cheats.prank(refused[i]);
            RESERVE.requestClose(d);
            expectRevert(ChannelReserve.NotPayer.selector);
            cheats.prank(refused[i]);
            RESERVE.withdraw(d);
        }
    }

    function test_a_channel_that_is_not_open_is_not_found() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        topUp(d, 1);
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        requestClose(d);
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        withdraw(d);
    }
}
