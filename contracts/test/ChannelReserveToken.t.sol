// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve, IAccountKeychain, ITip20} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";
import {IToken} from "./Chain.sol";

/// Rules of the token, of its issuer and of accounts: pauses, policies, virtual addresses, access keys.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveTokenTest is ChannelReserveBase {
    error VirtualAddressUnregistered();

    IAccountKeychain private constant KEYCHAIN = IAccountKeychain(0xaAAAaaAA00000000000000000000000000000000);
    address private constant ADDRESSES = 0xfDC0000000000000000000000000000000000000;
    address private constant VIRTUAL = 0x07a3B1c2fdFDfDfDFDFdfdFDFDFDD4E5A7C3F19e;
    address private constant MASTER = address(0x3A57E2);

    function call(address caller, bytes memory data) private returns (bool ok, bytes memory answer) {
        cheats.prank(caller, caller);
        (ok, answer) = address(RESERVE).call(data);
    }

    function assertRefused(address caller, bytes memory data, bytes4 wanted) private {
        (bool ok, bytes memory answer) = call(caller, data);
        assertEq(ok, false);
        assertEq(answer, abi.encodeWithSelector(wanted));
    }

    function opening(ChannelReserve.ChannelDescriptor memory d, uint96 deposit) private pure returns (bytes memory) {
        return abi.encodeCall(ChannelReserve.open, (d.payee, d.operator, d.token, deposit, d.salt, d.authorizedSigner));
    }

    /// While a token is paused its channels can neither pay out nor take in; what moves no money goes on.
    function test_a_paused_token_moves_in_no_channel() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 10);
        ChannelReserve.ChannelDescriptor memory whole = descriptor();
        whole.salt = keccak256("settled whole");
        bytes32 wholeId = open(whole, 5);
        settle(whole, 5);
        token.pause();

        bytes4 paused = IToken.ContractPaused.selector;
        ChannelReserve.ChannelDescriptor memory another = descriptor();
        another.salt = keccak256("another salt");
        assertRefused(payer, opening(another, DEPOSIT), paused);
        assertRefused(payer, abi.encodeCall(ChannelReserve.topUp, (d, 1)), paused);
        bytes memory signature = voucher(PAYER_KEY, id, 20);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.settle, (d, 20, signature)), paused);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 20, 20, signature)), paused);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 10, 10, "")), paused);

        requestClose(d);
        uint256 asked = block.timestamp;
        cheats.warp(asked + 900);
        assertRefused(payer, abi.encodeCall(ChannelReserve.withdraw, (d)), paused);
        assertState(id, 10, DEPOSIT, asked);
        cheats.prank(payer);
        RESERVE.topUp(d, 0);
        assertState(id, 10, DEPOSIT, 0);
        cheats.prank(PAYEE);
        RESERVE.close(whole, 5, 5, "");
        assertGone(wholeId);
    }

    /// The policies never keep back the rest of a deposit, for a payer who may not send and whose payee
    /// may not receive.
    function test_a_channel_between_two_whom_the_policies_forbid_still_ends() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 10);
        requestClose(d);
        forbidSending(payer);
        forbidReceiving(PAYEE);
        cheats.prank(payer);
        RESERVE.topUp(d, 0);
        requestClose(d);
        cheats.warp(block.timestamp + 900);
        cheats.prank(payer);
        RESERVE.withdraw(d);
        assertGone(id);
        assertEq(token.balanceOf(payer), type(uint64).max - 10);
    }

    /// A payee who may not receive keeps nobody from the rest, and a payer who may not receive keeps the payee from
    /// nothing that is settled.
    function test_a_side_that_may_not_receive_stops_its_own_payment_only() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        forbidReceiving(payer);
        bytes4 forbidden = ITip20.PolicyForbids.selector;
        bytes memory signature = voucher(PAYER_KEY, id, 20);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 20, 20, signature)), forbidden);
        settle(d, 10);
        requestClose(d);
        cheats.warp(block.timestamp + 900);
        assertRefused(payer, abi.encodeCall(ChannelReserve.withdraw, (d)), forbidden);
        // Nothing is left to return.
        settle(d, DEPOSIT);
        cheats.prank(payer);
        RESERVE.withdraw(d);
        assertGone(id);
    }

    function test_a_payee_who_may_not_receive_is_not_paid() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        forbidReceiving(PAYEE);
        bytes memory signature = voucher(PAYER_KEY, id, 20);
        bytes4 forbidden = ITip20.PolicyForbids.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.settle, (d, 20, signature)), forbidden);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 20, 20, signature)), forbidden);
        cheats.prank(PAYEE);
        RESERVE.close(d, 20, 0, signature);
        assertGone(id);
    }

    function test_a_payer_who_may_not_send_opens_nothing() external {
        forbidSending(payer);
        assertRefused(payer, opening(descriptor(), DEPOSIT), ITip20.PolicyForbids.selector);
    }

    function test_a_token_that_was_never_made_is_forbidden_to_everybody() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.token = 0x20C0000000000000000000000000000000009999;
        assertRefused(payer, opening(d, DEPOSIT), ITip20.PolicyForbids.selector);
    }

    function test_more_than_the_payer_has_or_gave_is_not_taken() external {
        (ChannelReserve.ChannelDescriptor memory d,) = opened();
        uint256 rest = token.balanceOf(payer);
        bytes memory wanted =
            abi.encodeWithSelector(IToken.InsufficientBalance.selector, rest, rest + 1, address(token));
        (bool ok, bytes memory answer) = call(payer, abi.encodeCall(ChannelReserve.topUp, (d, uint96(rest + 1))));
        assertEq(ok, false);
        assertEq(answer, wanted);
        cheats.prank(payer);
        token.approve(address(RESERVE), 0);
        bytes memory topUp = abi.encodeCall(ChannelReserve.topUp, (d, 1));
        assertRefused(payer, topUp, IToken.InsufficientAllowance.selector);
    }

    /// A virtual payee cannot settle, so that it needs an operator who can.
    function test_a_virtual_payee_needs_an_operator_who_is_not_virtual() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.payee = VIRTUAL;
        d.operator = address(0);
        assertRefused(payer, opening(d, DEPOSIT), ChannelReserve.InvalidPayee.selector);
        d.operator = 0x00000000fDfDFDFDFdFDFDFdFdfD000000000001;
        assertRefused(payer, opening(d, DEPOSIT), ChannelReserve.InvalidPayee.selector);
        // One bit away from a virtual address at either end of what marks it.
        d.operator = 0x00000000FcfdfdfdfdFdfDFDfDfd000000000001;
        assertRefused(payer, opening(d, DEPOSIT), VirtualAddressUnregistered.selector);
        d.operator = 0x00000000FdfdfDFdFDfDFDFDFDFc000000000001;
        assertRefused(payer, opening(d, DEPOSIT), VirtualAddressUnregistered.selector);
        // Only for a virtual payee does the operator matter.
        d.payee = PAYEE;
        d.operator = VIRTUAL;
        open(d, DEPOSIT);
    }

    /// Registering a virtual address takes an hour of computing, so its entry is written.
    function register() private {
        uint256 masterId = uint160(VIRTUAL) >> 128;
        cheats.store(ADDRESSES, keccak256(abi.encode(masterId, uint256(0))), bytes32(uint256(uint160(MASTER))));
    }

    function test_a_virtual_payee_is_paid_at_the_account_that_it_stands_for() external {
        register();
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.payee = VIRTUAL;
        bytes32 id = open(d, DEPOSIT);
        bytes memory signature = voucher(PAYER_KEY, id, 30);
        // The account behind it has no say of its own.
        bytes memory settling = abi.encodeCall(ChannelReserve.settle, (d, 30, signature));
        assertRefused(MASTER, settling, ChannelReserve.NotPayeeOrOperator.selector);
        cheats.prank(OPERATOR);
        RESERVE.settle(d, 30, signature);
        assertEq(token.balanceOf(MASTER), 30);
        assertEq(token.balanceOf(VIRTUAL), 0);
    }

    function test_the_policy_asks_for_the_account_behind_a_virtual_payee() external {
        register();
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.payee = VIRTUAL;
        open(d, DEPOSIT);
        forbidReceiving(MASTER);
        bytes4 forbidden = ITip20.PolicyForbids.selector;
        assertRefused(payer, abi.encodeCall(ChannelReserve.topUp, (d, 1)), forbidden);
        d.salt = keccak256("another salt");
        assertRefused(payer, opening(d, DEPOSIT), forbidden);
    }

    /// No test can sign with an access key: what the chain then answers is written in.
    function signedByAccessKey(bool limited, uint256 remaining) private {
        address key = address(0x4E1);
        IAccountKeychain.KeyInfo memory info = IAccountKeychain.KeyInfo(0, key, type(uint64).max, limited, false);
        cheats.mockCall(address(KEYCHAIN), abi.encodeCall(IAccountKeychain.getTransactionKey, ()), abi.encode(key));
        cheats.mockCall(address(KEYCHAIN), abi.encodeCall(IAccountKeychain.getKey, (payer, key)), abi.encode(info));
        cheats.mockCall(
            address(KEYCHAIN),
            abi.encodeCall(IAccountKeychain.getRemainingLimitWithPeriod, (payer, key, address(token))),
            abi.encode(remaining, uint64(0))
        );
    }

    function test_an_access_key_locks_no_more_than_it_may_spend() external {
        signedByAccessKey(true, DEPOSIT);
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        bytes4 exceeded = IAccountKeychain.SpendingLimitExceeded.selector;
        assertRefused(payer, opening(d, DEPOSIT + 1), exceeded);
        (bool ok,) = call(payer, opening(d, DEPOSIT));
        assertEq(ok, true);
        assertRefused(payer, abi.encodeCall(ChannelReserve.topUp, (d, DEPOSIT + 1)), exceeded);
        (ok,) = call(payer, abi.encodeCall(ChannelReserve.topUp, (d, DEPOSIT)));
        assertEq(ok, true);
        // What pays out is not the payer's spending.
        signedByAccessKey(true, 0);
        settle(d, 10);
    }

    function test_an_access_key_without_limits_and_another_account_lock_what_they_like() external {
        signedByAccessKey(false, 0);
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        (bool ok,) = call(payer, opening(d, DEPOSIT));
        assertEq(ok, true);
        // The key is that of whoever sent the transaction, not of a contract that pays in it.
        signedByAccessKey(true, 0);
        d.salt = keccak256("another salt");
        open(d, DEPOSIT);
    }
}
