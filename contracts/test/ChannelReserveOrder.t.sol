// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve, IAccountKeychain, ITip20} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";
import {IToken} from "./Chain.sol";

/// Where a call breaks several rules at once, the first rule of this order refuses it.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveOrderTest is ChannelReserveBase {
    ChannelReserve.ChannelDescriptor private d;

    function setUp() public override {
        super.setUp();
        d = descriptor();
    }

    function assertRefused(address caller, bytes memory data, bytes memory wanted) private {
        cheats.prank(caller, caller);
        (bool ok, bytes memory got) = address(RESERVE).call(data);
        assertEq(ok, false);
        assertEq(got, wanted);
    }

    function assertRefused(address caller, bytes memory data, bytes4 wanted) private {
        assertRefused(caller, data, abi.encodeWithSelector(wanted));
    }

    function assertOpenRefused(uint96 deposit, bytes4 wanted) private {
        bytes memory data =
            abi.encodeCall(ChannelReserve.open, (d.payee, d.operator, d.token, deposit, d.salt, address(0)));
        assertRefused(payer, data, wanted);
    }

    function test_open() external {
        open(d, DEPOSIT);
        inTransaction(0);
        d.payee = 0x07a3B1c2fdFDfDfDFDFdfdFDFDFDD4E5A7C3F19e;
        (d.operator, d.token) = (address(0), address(1));
        assertOpenRefused(0, ChannelReserve.InvalidPayee.selector);
        d.payee = address(0);
        assertOpenRefused(0, ChannelReserve.InvalidPayee.selector);
        d.payee = PAYEE;
        assertOpenRefused(0, ITip20.InvalidToken.selector);
        (d.operator, d.token) = (OPERATOR, address(token));
        assertOpenRefused(0, ChannelReserve.ZeroDeposit.selector);
        assertOpenRefused(1, ChannelReserve.ExpiringNonceHashNotSet.selector);
        inTransaction(CONTEXT);
        forbidReceiving(PAYEE);
        forbidSending(payer);
        assertOpenRefused(1, ChannelReserve.ChannelAlreadyExists.selector);
        d.salt = keccak256("another salt");
        assertOpenRefused(1, ITip20.PolicyForbids.selector);
        // The payee's policy is asked before the payer's limit, and that before the payer's balance.
        IAccountKeychain keychain = IAccountKeychain(0xaAAAaaAA00000000000000000000000000000000);
        cheats.mockCall(address(keychain), abi.encodeCall(keychain.getTransactionKey, ()), abi.encode(address(1)));
        cheats.mockCall(
            address(keychain),
            abi.encodeCall(keychain.getKey, (payer, address(1))),
            abi.encode(IAccountKeychain.KeyInfo(0, address(1), 0, true, false))
        );
        assertOpenRefused(type(uint96).max, ITip20.PolicyForbids.selector);
        d.payee = OPERATOR;
        assertOpenRefused(type(uint96).max, IAccountKeychain.SpendingLimitExceeded.selector);
    }

    function test_a_channel_that_is_not_open_comes_before_the_caller() external {
        bytes4 notFound = ChannelReserve.ChannelNotFound.selector;
        assertRefused(stranger, abi.encodeCall(ChannelReserve.topUp, (d, 1)), notFound);
        assertRefused(stranger, abi.encodeCall(ChannelReserve.requestClose, (d)), notFound);
        assertRefused(stranger, abi.encodeCall(ChannelReserve.withdraw, (d)), notFound);
        assertRefused(stranger, abi.encodeCall(ChannelReserve.settle, (d, 1, "")), notFound);
        assertRefused(stranger, abi.encodeCall(ChannelReserve.close, (d, 1, 2, "")), notFound);
    }

    function test_settle() external {
        bytes32 id = open(d, DEPOSIT);
        settle(d, 10);
        forbidSending(payer);
        forbidReceiving(PAYEE);
        bytes4 notPayee = ChannelReserve.NotPayeeOrOperator.selector;
        assertRefused(stranger, abi.encodeCall(ChannelReserve.settle, (d, DEPOSIT + 1, "")), notPayee);
        bytes4 exceeds = ChannelReserve.AmountExceedsDeposit.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.settle, (d, DEPOSIT + 1, "")), exceeds);
        bytes4 notIncreasing = ChannelReserve.AmountNotIncreasing.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.settle, (d, 10, "")), notIncreasing);
        bytes4 invalid = ChannelReserve.InvalidSignature.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.settle, (d, 11, "")), invalid);
        token.pause();
        bytes memory good = abi.encodeCall(ChannelReserve.settle, (d, 11, voucher(PAYER_KEY, id, 11)));
        assertRefused(PAYEE, good, ITip20.PolicyForbids.selector);
    }

    function test_close() external {
        bytes32 id = open(d, DEPOSIT);
        settle(d, 10);
        forbidSending(payer);
        forbidReceiving(payer);
        bytes4 notPayee = ChannelReserve.NotPayeeOrOperator.selector;
        assertRefused(stranger, abi.encodeCall(ChannelReserve.close, (d, 1, 2, "")), notPayee);
        bytes4 capture = ChannelReserve.CaptureAmountInvalid.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 9, 9, "")), capture);
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, DEPOSIT + 1, DEPOSIT + 2, "")), capture);
        bytes4 exceeds = ChannelReserve.AmountExceedsDeposit.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, DEPOSIT + 1, DEPOSIT + 1, "")), exceeds);
        bytes4 invalid = ChannelReserve.InvalidSignature.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 11, 11, "")), invalid);
        token.pause();
        bytes memory good = abi.encodeCall(ChannelReserve.close, (d, 11, 11, voucher(PAYER_KEY, id, 11)));
        assertRefused(PAYEE, good, ITip20.PolicyForbids.selector);
        bytes4 paused = IToken.ContractPaused.selector;
        assertRefused(PAYEE, abi.encodeCall(ChannelReserve.close, (d, 10, 10, "")), paused);
    }

    function test_the_payers_side() external {
        open(d, DEPOSIT);
        forbidReceiving(PAYEE);
        forbidSending(payer);
        bytes4 notPayer = ChannelReserve.NotPayer.selector;
        assertRefused(stranger, abi.encodeCall(ChannelReserve.topUp, (d, type(uint96).max)), notPayer);
        bytes4 overflow = ChannelReserve.DepositOverflow.selector;
        assertRefused(payer, abi.encodeCall(ChannelReserve.topUp, (d, type(uint96).max)), overflow);
        bytes4 forbidden = ITip20.PolicyForbids.selector;
        assertRefused(payer, abi.encodeCall(ChannelReserve.topUp, (d, type(uint96).max - DEPOSIT)), forbidden);
        assertRefused(stranger, abi.encodeCall(ChannelReserve.withdraw, (d)), notPayer);
        token.pause();
        assertRefused(payer, abi.encodeCall(ChannelReserve.withdraw, (d)), ChannelReserve.CloseNotReady.selector);
    }
}
