// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";
import {IToken} from "./Chain.sol";

/// Calls that no precompile takes: the reserve answers them as the token does, which is a precompile.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveCallsTest is ChannelReserveBase {
    function called(address target, bytes memory data) private returns (bool ok, bytes memory answer) {
        (ok, answer) = target.call(data);
    }

    function assertSameRefusal(bytes memory data, bytes memory wanted) private {
        address[2] memory targets = [address(token), address(RESERVE)];
        for (uint256 i = 0; i < targets.length; ++i) {
            (bool ok, bytes memory answer) = called(targets[i], data);
            assertEq(ok, false);
            assertEq(answer, wanted);
        }
    }

    function test_an_unknown_function_is_named() external {
        assertSameRefusal(
            hex"deadbeef", abi.encodeWithSelector(ChannelReserve.UnknownFunctionSelector.selector, bytes4(0xdeadbeef))
        );
        assertSameRefusal(
            hex"deadbeef00", abi.encodeWithSelector(ChannelReserve.UnknownFunctionSelector.selector, bytes4(0xdeadbeef))
        );
        // Known from a later version of the chain on.
        bytes4 later = bytes4(keccak256("storageCredits(address)"));
        assertSameRefusal(
            abi.encodeWithSelector(later, payer),
            abi.encodeWithSelector(ChannelReserve.UnknownFunctionSelector.selector, later)
        );
    }

    function test_what_names_no_function_is_refused_without_a_word() external {
        assertSameRefusal("", "");
        assertSameRefusal(hex"dead", "");
        assertSameRefusal(hex"deadbe", "");
    }

    function test_arguments_that_are_too_short_are_refused_without_a_word() external {
        (bool ok, bytes memory answer) = called(address(token), abi.encodePacked(IToken.transfer.selector, uint8(1)));
        assertEq(ok, false);
        assertEq(answer, "");
        (ok, answer) = called(address(RESERVE), abi.encodePacked(ChannelReserve.requestClose.selector, uint8(1)));
        assertEq(ok, false);
        assertEq(answer, "");
    }

    /// Every function of the reserve, with arguments that it takes.
    function everyCall() private returns (bytes[] memory changing, bytes[] memory reading) {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        requestClose(d);
        bytes memory signature = voucher(PAYER_KEY, id, 1);
        changing = new bytes[](6);
        changing[0] = abi.encodeCall(
            ChannelReserve.open, (d.payee, d.operator, d.token, DEPOSIT, keccak256("another salt"), address(0))
        );
        changing[1] = abi.encodeCall(ChannelReserve.settle, (d, 1, signature));
        changing[2] = abi.encodeCall(ChannelReserve.topUp, (d, 0));
        changing[3] = abi.encodeCall(ChannelReserve.close, (d, 0, 0, ""));
        changing[4] = abi.encodeCall(ChannelReserve.requestClose, (d));
        changing[5] = abi.encodeCall(ChannelReserve.withdraw, (d));
        reading = new bytes[](8);
        reading[0] = abi.encodeCall(ChannelReserve.CLOSE_GRACE_PERIOD, ());
        reading[1] = abi.encodeCall(ChannelReserve.VOUCHER_TYPEHASH, ());
        reading[2] = abi.encodeCall(ChannelReserve.getChannel, (d));
        reading[3] = abi.encodeCall(ChannelReserve.getChannelState, (id));
        reading[4] = abi.encodeCall(ChannelReserve.getChannelStatesBatch, (new bytes32[](1)));
        reading[5] = abi.encodeCall(
            ChannelReserve.computeChannelId,
            (d.payer, d.payee, d.operator, d.token, d.salt, d.authorizedSigner, d.expiringNonceHash)
        );
        reading[6] = abi.encodeCall(ChannelReserve.getVoucherDigest, (id, 1));
        reading[7] = abi.encodeCall(ChannelReserve.domainSeparator, ());
    }

    function test_nothing_runs_in_the_name_of_another_contract() external {
        bytes memory refusal = abi.encodeWithSelector(ChannelReserve.DelegateCallNotAllowed.selector);
        (bool ok, bytes memory answer) = address(token).delegatecall(abi.encodeCall(IToken.balanceOf, (payer)));
        assertEq(ok, false);
        assertEq(answer, refusal);

        (bytes[] memory changing, bytes[] memory reading) = everyCall();
        for (uint256 i = 0; i < changing.length + reading.length; ++i) {
            bytes memory data = i < changing.length ? changing[i] : reading[i - changing.length];
            (ok, answer) = address(RESERVE).delegatecall(data);
            assertEq(ok, false);
            assertEq(answer, refusal);
        }
        (ok, answer) = address(RESERVE).delegatecall(hex"deadbeef");
        assertEq(ok, false);
        assertEq(answer, refusal);
    }

    /// Also where it would have changed nothing: a second request to close, a call of a stranger.
    function test_nothing_that_can_change_state_runs_where_nothing_may_change() external {
        bytes memory refusal = abi.encodeWithSelector(ChannelReserve.StaticCallNotAllowed.selector);
        (bool ok, bytes memory answer) = address(token).staticcall(abi.encodeCall(IToken.transfer, (payer, 0)));
        assertEq(ok, false);
        assertEq(answer, refusal);

        (bytes[] memory changing, bytes[] memory reading) = everyCall();
        address[2] memory callers = [payer, PAYEE];
        for (uint256 i = 0; i < changing.length; ++i) {
            for (uint256 j = 0; j < callers.length; ++j) {
                cheats.prank(callers[j]);
                (ok, answer) = address(RESERVE).staticcall(changing[i]);
                assertEq(ok, false);
                assertEq(answer, refusal);
            }
        }
        for (uint256 i = 0; i < reading.length; ++i) {
            (ok,) = address(RESERVE).staticcall(reading[i]);
            assertEq(ok, true);
        }
    }
}
