// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve, ITip20} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// `settle` and `close`, the payee's side.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveSettleTest is ChannelReserveBase {
    function test_settle_pays_the_difference_to_the_payee_whoever_of_its_side_asks() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 300);
        bytes memory signature = voucher(PAYER_KEY, id, 1000);

        expectEvent();
        emit ChannelReserve.Settled(id, payer, PAYEE, 1000, 700, 1000);
        cheats.prank(OPERATOR);
        RESERVE.settle(d, 1000, signature);

        assertState(id, 1000, DEPOSIT, 0);
        assertEq(token.balanceOf(PAYEE), 1000);
        assertEq(token.balanceOf(OPERATOR), 0);
    }

    function test_settle_and_close_are_refused_to_everybody_else() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.operator = address(0);
        bytes memory signature = voucher(PAYER_KEY, open(d, DEPOSIT), 10);
        // Zero is nobody's address, also when the operator is zero.
        address[4] memory refused = [payer, stranger, OPERATOR, address(0)];
        for (uint256 i = 0; i < refused.length; ++i) {
            expectRevert(ChannelReserve.NotPayeeOrOperator.selector);
            cheats.prank(refused[i]);
            RESERVE.settle(d, 10, signature);
            expectRevert(ChannelReserve.NotPayeeOrOperator.selector);
            cheats.prank(refused[i]);
            RESERVE.close(d, 10, 10, signature);
        }
    }

    function test_settle_goes_up_to_the_deposit_and_not_beyond() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        bytes memory signature = voucher(PAYER_KEY, id, DEPOSIT + 1);
        expectRevert(ChannelReserve.AmountExceedsDeposit.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, DEPOSIT + 1, signature);

        settle(d, DEPOSIT);
        assertState(id, DEPOSIT, DEPOSIT, 0);
    }

    function test_settle_refuses_what_is_settled_already() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 10);
        uint96[3] memory amounts = [uint96(0), 9, 10];
        for (uint256 i = 0; i < amounts.length; ++i) {
            bytes memory signature = voucher(PAYER_KEY, id, amounts[i]);
            expectRevert(ChannelReserve.AmountNotIncreasing.selector);
            cheats.prank(PAYEE);
            RESERVE.settle(d, amounts[i], signature);
        }
    }

    /// A settlement during the time of grace is what that time is for.
    function test_settle_and_close_work_while_the_payer_wants_to_close() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        requestClose(d);
        settle(d, 10);
        assertState(id, 10, DEPOSIT, block.timestamp);
        cheats.prank(PAYEE);
        RESERVE.close(d, 10, 10, "");
        assertGone(id);
    }

    function test_close_pays_both_and_forgets_the_channel() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        uint256 held = token.balanceOf(payer);
        settle(d, 100);
        // The payee may capture less than the voucher allows.
        bytes memory signature = voucher(PAYER_KEY, id, 500);

        expectEvent();
        emit ChannelReserve.ChannelClosed(id, payer, PAYEE, 400, DEPOSIT - 400);
        cheats.prank(OPERATOR);
        RESERVE.close(d, 500, 400, signature);

        assertGone(id);
        assertEq(token.balanceOf(PAYEE), 400);
        assertEq(token.balanceOf(payer), held + DEPOSIT - 400);
        assertEq(token.balanceOf(address(RESERVE)), 0);
    }

    function test_close_for_no_more_than_what_is_settled_needs_no_voucher() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 100);
        cheats.prank(PAYEE);
        RESERVE.close(d, 100, 100, "");
        assertGone(id);
        assertEq(token.balanceOf(PAYEE), 100);
    }

    function test_close_refuses_a_capture_below_the_settled_amount_or_above_the_voucher() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 100);
        bytes memory signature = voucher(PAYER_KEY, id, 200);
        uint96[2] memory captures = [uint96(99), 201];
        for (uint256 i = 0; i < captures.length; ++i) {
            expectRevert(ChannelReserve.CaptureAmountInvalid.selector);
            cheats.prank(PAYEE);
            RESERVE.close(d, 200, captures[i], signature);
        }
    }

    /// A voucher above the deposit is good for the whole deposit, and for no more.
    function test_close_takes_a_voucher_above_the_deposit_but_no_capture_above_it() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        bytes memory signature = voucher(PAYER_KEY, id, 2 * DEPOSIT);
        expectRevert(ChannelReserve.AmountExceedsDeposit.selector);
        cheats.prank(PAYEE);
        RESERVE.close(d, 2 * DEPOSIT, DEPOSIT + 1, signature);

        cheats.prank(PAYEE);
        RESERVE.close(d, 2 * DEPOSIT, DEPOSIT, signature);
        assertEq(token.balanceOf(PAYEE), DEPOSIT);
        assertGone(id);
    }

    function test_close_refuses_a_voucher_for_another_amount() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        bytes memory signature = voucher(PAYER_KEY, id, 200);
        expectRevert(ChannelReserve.InvalidSignature.selector);
        cheats.prank(PAYEE);
        RESERVE.close(d, 201, 200, signature);
    }

    function test_a_channel_that_is_not_open_is_not_found() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        bytes memory signature = voucher(PAYER_KEY, idOf(d), 10);
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, 10, signature);
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        cheats.prank(PAYEE);
        RESERVE.close(d, 10, 10, signature);
    }

    /// The descriptor is the channel's identity: with any field changed it names another channel.
    function test_a_changed_descriptor_finds_nothing() external {
        (ChannelReserve.ChannelDescriptor memory d,) = opened();
        d.authorizedSigner = stranger;
        bytes memory signature = voucher(STRANGER_KEY, idOf(d), 10);
        expectRevert(ChannelReserve.ChannelNotFound.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, 10, signature);
    }

    /// TIP-1034, "Native Reserve Movement": a payer blocked by the token's policy must not pay through a channel, but
    /// gets the deposit back.
    function test_a_payer_who_may_no_longer_send_the_token_pays_nothing_more() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 10);
        forbidSending(payer);
        bytes memory signature = voucher(PAYER_KEY, id, 20);
        expectRevert(ITip20.PolicyForbids.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, 20, signature);
        expectRevert(ITip20.PolicyForbids.selector);
        cheats.prank(PAYEE);
        RESERVE.close(d, 20, 20, signature);

        cheats.prank(PAYEE);
        RESERVE.close(d, 10, 10, "");
        assertGone(id);
    }
}
