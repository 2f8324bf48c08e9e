// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ICheats, IToken, Issuer} from "./Chain.sol";

/// A reserve at its address, a payer with money and a key, a payee and an operator.
abstract contract ChannelReserveBase is Issuer {
    ICheats internal constant cheats = ICheats(address(vm));
    ChannelReserve internal constant RESERVE = ChannelReserve(0x4d50500000000000000000000000000000000000);

    /// Where the hash of the enclosing transaction is written.
    bytes32 internal constant CONTEXT_SLOT = bytes32(uint256(1));
    bytes32 internal constant CONTEXT = keccak256("a transaction");

    uint256 internal constant PAYER_KEY = 0xA11CE;
    uint256 internal constant STRANGER_KEY = 0xBAD;
    address internal constant PAYEE = address(0xBEE);
    address internal constant OPERATOR = address(0x09E7);
    uint96 internal constant DEPOSIT = 1_000_000;

    IToken internal token;
    address internal payer;
    address internal stranger;

    function setUp() public virtual {
        cheats.etch(address(RESERVE), type(ChannelReserve).runtimeCode);
        cheats.warp(1_700_000_000);
        inTransaction(CONTEXT);
        payer = cheats.addr(PAYER_KEY);
        stranger = cheats.addr(STRANGER_KEY);
        token = issue();
        token.mint(payer, type(uint64).max);
        cheats.prank(payer);
        token.approve(address(RESERVE), type(uint256).max);
    }

    function inTransaction(bytes32 context) internal {
        cheats.store(address(RESERVE), CONTEXT_SLOT, context);
    }

    function descriptor() internal view returns (ChannelReserve.ChannelDescriptor memory) {
        return ChannelReserve.ChannelDescriptor({
            payer: payer,
            payee: PAYEE,
            operator: OPERATOR,
            token: address(token),
            salt: keccak256("salt"),
            authorizedSigner: address(0),
            expiringNonceHash: CONTEXT
        });
    }

    function idOf(ChannelReserve.ChannelDescriptor memory d) internal view returns (bytes32) {
        return RESERVE.computeChannelId(
            d.payer, d.payee, d.operator, d.token, d.salt, d.authorizedSigner, d.expiringNonceHash
        );
    }

    function open(ChannelReserve.ChannelDescriptor memory d, uint96 deposit) internal returns (bytes32) {
        cheats.prank(d.payer);
        return RESERVE.open(d.payee, d.operator, d.token, deposit, d.salt, d.authorizedSigner);
    }

    /// Opens the usual channel.
    function opened() internal returns (ChannelReserve.ChannelDescriptor memory d, bytes32 id) {
        d = descriptor();
        id = open(d, DEPOSIT);
    }

    function voucher(uint256 key, bytes32 id, uint96 amount) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(key, RESERVE.getVoucherDigest(id, amount));
        return abi.encodePacked(r, s, v);
    }

    function settle(ChannelReserve.ChannelDescriptor memory d, uint96 amount) internal {
        bytes memory signature = voucher(PAYER_KEY, idOf(d), amount);
        cheats.prank(PAYEE);
        RESERVE.settle(d, amount, signature);
    }

    function requestClose(ChannelReserve.ChannelDescriptor memory d) internal {
        cheats.prank(d.payer);
        RESERVE.requestClose(d);
    }

    function expectRevert(bytes4 error) internal {
        cheats.expectRevert(error);
    }

    function expectEvent() internal {
        cheats.expectEmit(address(RESERVE));
    }

    function assertState(bytes32 id, uint96 settled, uint96 deposit, uint256 closeRequestedAt) internal view {
        ChannelReserve.ChannelState memory state = RESERVE.getChannelState(id);
        assertEq(state.settled, settled);
        assertEq(state.deposit, deposit);
        assertEq(state.closeRequestedAt, closeRequestedAt);
    }

    function assertGone(bytes32 id) internal view {
        assertState(id, 0, 0, 0);
    }

    function assertEq(bytes32 got, bytes32 wanted) internal pure {
        assertEq(uint256(got), uint256(wanted));
    }
}
