// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";
import {Logs} from "./Logs.sol";

/// Everything that a call emits, in its order.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveLogsTest is ChannelReserveBase, Logs {
    ChannelReserve.ChannelDescriptor private d;
    bytes32 private id;
    uint256 private salts;

    function setUp() public override {
        super.setUp();
        d = descriptor();
        id = idOf(d);
    }

    /// Every event of the reserve is about one channel, its payer and its payee.
    function want(bytes32 selector, bytes memory data) private {
        bytes32[] memory topics = new bytes32[](4);
        topics[0] = selector;
        topics[1] = id;
        topics[2] = bytes32(uint256(uint160(d.payer)));
        topics[3] = bytes32(uint256(uint160(d.payee)));
        wantLog(address(RESERVE), topics, data);
    }

    function wantPayment(address from, address to, uint256 amount) private {
        wantTransfer(address(token), from, to, amount);
    }

    function wantOpened(uint96 deposit) private {
        wantPayment(payer, address(RESERVE), deposit);
        want(
            keccak256("ChannelOpened(bytes32,address,address,address,address,address,bytes32,bytes32,uint96)"),
            abi.encode(d.operator, d.token, d.authorizedSigner, d.salt, d.expiringNonceHash, deposit)
        );
    }

    function wantTopUp(uint96 amount, uint96 deposit) private {
        want(keccak256("TopUp(bytes32,address,address,uint96,uint96)"), abi.encode(amount, deposit));
    }

    function wantClosed(uint96 settled, uint96 refunded) private {
        want(keccak256("ChannelClosed(bytes32,address,address,uint96,uint96)"), abi.encode(settled, refunded));
    }

    /// Opens another channel, whose logs nobody looks at, with some of it settled.
    function another(uint96 settled) private {
        d.salt = bytes32(++salts);
        id = idOf(d);
        open(d, DEPOSIT);
        if (settled != 0) settle(d, settled);
        startLogs();
    }

    function topUp(uint96 amount) private {
        cheats.prank(payer);
        RESERVE.topUp(d, amount);
    }

    function close(uint96 cumulative, uint96 capture, bytes memory signature) private {
        cheats.prank(PAYEE);
        RESERVE.close(d, cumulative, capture, signature);
    }

    function test_open() external {
        d.authorizedSigner = stranger;
        id = idOf(d);
        startLogs();
        open(d, DEPOSIT);
        wantOpened(DEPOSIT);
        assertLogs();
    }

    function test_settle() external {
        another(10);
        settle(d, 25);
        wantPayment(address(RESERVE), PAYEE, 15);
        want(keccak256("Settled(bytes32,address,address,uint96,uint96,uint96)"), abi.encode(25, 15, 25));
        assertLogs();
    }

    function test_topUp() external {
        another(0);
        topUp(0);
        assertLogs();

        topUp(5);
        wantPayment(payer, address(RESERVE), 5);
        wantTopUp(5, DEPOSIT + 5);
        assertLogs();
    }

    function test_topUp_while_closing() external {
        another(0);
        requestClose(d);
        startLogs();
        topUp(7);
        wantPayment(payer, address(RESERVE), 7);
        want(keccak256("CloseRequestCancelled(bytes32,address,address)"), "");
        wantTopUp(7, DEPOSIT + 7);
        assertLogs();

        requestClose(d);
        startLogs();
        topUp(0);
        want(keccak256("CloseRequestCancelled(bytes32,address,address)"), "");
        wantTopUp(0, DEPOSIT + 7);
        assertLogs();
    }

    function test_requestClose() external {
        another(0);
        requestClose(d);
        want(keccak256("CloseRequested(bytes32,address,address,uint256)"), abi.encode(block.timestamp + 900));
        assertLogs();
        assertEq(RESERVE.getChannel(d).state.closeRequestedAt, block.timestamp);

        cheats.warp(block.timestamp + 1);
        requestClose(d);
        assertLogs();
    }

    function test_close() external {
        another(10);
        close(30, 20, voucher(PAYER_KEY, id, 30));
        wantPayment(address(RESERVE), PAYEE, 10);
        wantPayment(address(RESERVE), payer, DEPOSIT - 20);
        wantClosed(20, DEPOSIT - 20);
        assertLogs();
    }

    /// A payment of nothing is none.
    function test_close_with_nothing_to_pay_or_to_return() external {
        another(10);
        close(10, 10, hex"dead");
        wantPayment(address(RESERVE), payer, DEPOSIT - 10);
        wantClosed(10, DEPOSIT - 10);
        assertLogs();

        another(10);
        close(DEPOSIT, DEPOSIT, voucher(PAYER_KEY, id, DEPOSIT));
        wantPayment(address(RESERVE), PAYEE, DEPOSIT - 10);
        wantClosed(DEPOSIT, 0);
        assertLogs();

        another(DEPOSIT);
        close(DEPOSIT, DEPOSIT, "");
        wantClosed(DEPOSIT, 0);
        assertLogs();
    }

    function test_withdraw() external {
        uint96[2] memory settled = [uint96(10), DEPOSIT];
        for (uint256 i = 0; i < settled.length; ++i) {
            another(settled[i]);
            requestClose(d);
            cheats.warp(block.timestamp + 900);
            startLogs();
            cheats.prank(payer);
            RESERVE.withdraw(d);
            if (settled[i] != DEPOSIT) wantPayment(address(RESERVE), payer, DEPOSIT - settled[i]);
            wantClosed(settled[i], DEPOSIT - settled[i]);
            assertLogs();
        }
    }

    /// The order of several channels' logs in one transaction is that of the calls.
    function test_two_channels_of_one_transaction() external {
        startLogs();
        open(d, 5);
        wantOpened(5);
        d.salt = keccak256("another salt");
        id = idOf(d);
        open(d, 6);
        wantOpened(6);
        assertLogs();
    }
}
