// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// Numbers that the payment protocol and its libraries count on, and who may be whom.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveExactTest is ChannelReserveBase {
    function test_the_largest_deposit_is_this_number() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        token.mint(payer, 79_228_162_514_264_337_593_543_950_335 - type(uint64).max);
        bytes32 id = open(d, 79_228_162_514_264_337_593_543_950_334);
        cheats.prank(payer);
        RESERVE.topUp(d, 1);
        assertState(id, 0, 79_228_162_514_264_337_593_543_950_335, 0);
        expectRevert(ChannelReserve.DepositOverflow.selector);
        cheats.prank(payer);
        RESERVE.topUp(d, 1);
        settle(d, 79_228_162_514_264_337_593_543_950_335);
        assertEq(token.balanceOf(PAYEE), 79_228_162_514_264_337_593_543_950_335);
    }

    /// A test is one transaction, so a channel of an earlier one is written: any deposit makes it exist.
    function test_open_refuses_an_id_that_an_earlier_transaction_opened() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        bytes32 slot = keccak256(abi.encode(idOf(d), uint256(0)));
        cheats.store(address(RESERVE), slot, bytes32(uint256(1) << 96));
        expectRevert(ChannelReserve.ChannelAlreadyExists.selector);
        open(d, DEPOSIT);
        assertState(idOf(d), 0, 1, 0);
    }

    function test_the_time_of_grace_is_900_seconds_from_the_request() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        cheats.warp(2_000_000_000);
        requestClose(d);
        assertState(id, 0, DEPOSIT, 2_000_000_000);
        cheats.warp(2_000_000_899);
        expectRevert(ChannelReserve.CloseNotReady.selector);
        cheats.prank(payer);
        RESERVE.withdraw(d);
        cheats.warp(2_000_000_900);
        cheats.prank(payer);
        RESERVE.withdraw(d);
        assertGone(id);
    }

    /// A request to close, and the end of its time, take nothing from what either side may do, and give the payee
    /// nothing that it had not.
    function test_a_request_to_close_changes_no_other_rule() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        requestClose(d);
        uint256 asked = block.timestamp;
        for (uint96 settled = 10; settled < 13; ++settled) {
            expectRevert(ChannelReserve.InvalidSignature.selector);
            cheats.prank(PAYEE);
            RESERVE.close(d, 500, 500, "");
            expectRevert(ChannelReserve.InvalidSignature.selector);
            cheats.prank(PAYEE);
            RESERVE.settle(d, 500, "");
            settle(d, settled);
            assertState(id, settled, DEPOSIT, asked);
            cheats.warp(block.timestamp + 900);
        }
        cheats.prank(payer);
        RESERVE.topUp(d, 1);
        assertState(id, 12, DEPOSIT + 1, 0);
        requestClose(d);
        cheats.warp(block.timestamp + 10_000);
        bytes memory signature = voucher(PAYER_KEY, id, 20);
        cheats.prank(PAYEE);
        RESERVE.close(d, 20, 20, signature);
        assertGone(id);
        assertEq(token.balanceOf(PAYEE), 20);
    }

    function test_the_signer_of_vouchers_is_on_neither_side() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.authorizedSigner = stranger;
        bytes memory signature = voucher(STRANGER_KEY, open(d, DEPOSIT), 1);
        bytes[5] memory calls = [
            abi.encodeCall(ChannelReserve.topUp, (d, 0)),
            abi.encodeCall(ChannelReserve.requestClose, (d)),
            abi.encodeCall(ChannelReserve.withdraw, (d)),
            abi.encodeCall(ChannelReserve.settle, (d, 1, signature)),
            abi.encodeCall(ChannelReserve.close, (d, 1, 1, signature))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            bytes4 wanted = i < 3 ? ChannelReserve.NotPayer.selector : ChannelReserve.NotPayeeOrOperator.selector;
            cheats.prank(stranger);
            (bool ok, bytes memory got) = address(RESERVE).call(calls[i]);
            assertEq(ok, false);
            assertEq(got, abi.encodeWithSelector(wanted));
        }
    }

    function test_one_account_may_have_several_roles() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.operator = PAYEE;
        open(d, DEPOSIT);
        d.operator = payer;
        bytes memory signature = voucher(PAYER_KEY, open(d, DEPOSIT), 5);
        cheats.prank(payer);
        RESERVE.settle(d, 5, signature);
        d.payee = payer;
        bytes32 id = open(d, DEPOSIT);
        signature = voucher(PAYER_KEY, id, 5);
        cheats.prank(payer);
        RESERVE.close(d, 5, 5, signature);
        assertGone(id);
        assertEq(token.balanceOf(payer), type(uint64).max - 2 * uint256(DEPOSIT));
    }

    /// Reads of several channels come in the order that was asked for, also of one that is asked for twice.
    function test_states_come_in_the_order_asked_for() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 first) = opened();
        d.salt = keccak256("another salt");
        bytes32 second = open(d, 7);
        settle(d, 3);
        requestClose(d);
        bytes32[] memory ids = new bytes32[](4);
        (ids[0], ids[1], ids[2]) = (second, first, second);
        ChannelReserve.ChannelState[] memory states = RESERVE.getChannelStatesBatch(ids);
        assertEq(states.length, 4);
        assertEq(abi.encode(states[0]), abi.encode(3, 7, block.timestamp));
        assertEq(abi.encode(states[1]), abi.encode(0, DEPOSIT, 0));
        assertEq(abi.encode(states[2]), abi.encode(states[0]));
        assertEq(abi.encode(states[3]), abi.encode(0, 0, 0));
        assertEq(RESERVE.getChannelStatesBatch(new bytes32[](0)).length, 0);
    }
}
