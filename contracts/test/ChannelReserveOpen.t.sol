// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve, ITip20} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveOpenTest is ChannelReserveBase {
    function test_open_takes_the_deposit_stores_one_slot_and_names_the_whole_descriptor() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        bytes32 id = idOf(d);
        uint256 held = token.balanceOf(payer);

        expectEvent();
        emit ChannelReserve.ChannelOpened(
            id, payer, PAYEE, OPERATOR, address(token), address(0), d.salt, CONTEXT, DEPOSIT
        );
        assertEq(open(d, DEPOSIT), id);

        assertState(id, 0, DEPOSIT, 0);
        assertEq(token.balanceOf(payer), held - DEPOSIT);
        assertEq(token.balanceOf(address(RESERVE)), DEPOSIT);
    }

    /// TIP-1034, "Channel Identity And Packed State".
    function test_the_state_is_packed_into_the_slot_of_its_id() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 7);
        requestClose(d);
        bytes32 packed = cheats.load(address(RESERVE), keccak256(abi.encode(id, uint256(0))));
        assertEq(packed, bytes32(7 | uint256(DEPOSIT) << 96 | block.timestamp << 192));
    }

    function test_open_refuses_a_payee_that_is_nobody_or_a_token() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        address[2] memory refused = [address(0), address(token)];
        for (uint256 i = 0; i < refused.length; ++i) {
            d.payee = refused[i];
            expectRevert(ChannelReserve.InvalidPayee.selector);
            open(d, DEPOSIT);
        }
    }

    function test_open_refuses_what_is_no_token() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.token = address(0x70CE);
        expectRevert(ITip20.InvalidToken.selector);
        open(d, DEPOSIT);
    }

    function test_open_refuses_a_deposit_of_zero() external {
        expectRevert(ChannelReserve.ZeroDeposit.selector);
        open(descriptor(), 0);
    }

    function test_open_refuses_when_nobody_has_written_the_hash_of_the_transaction() external {
        inTransaction(0);
        expectRevert(ChannelReserve.ExpiringNonceHashNotSet.selector);
        open(descriptor(), DEPOSIT);
    }

    function test_open_refuses_an_id_that_exists() external {
        (ChannelReserve.ChannelDescriptor memory d,) = opened();
        expectRevert(ChannelReserve.ChannelAlreadyExists.selector);
        open(d, DEPOSIT);
    }

    /// A test runs in one transaction, so the channel would come to life again in the one that closed it.
    function test_open_refuses_an_id_closed_in_the_same_transaction() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        cheats.prank(PAYEE);
        RESERVE.close(d, 0, 0, "");
        assertGone(id);
        expectRevert(ChannelReserve.ChannelAlreadyExists.selector);
        open(d, DEPOSIT);
    }

    function test_one_transaction_may_open_several_channels_and_another_the_same_again() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 first) = opened();
        d.salt = keccak256("another salt");
        bytes32 second = open(d, 2 * DEPOSIT);
        inTransaction(keccak256("another transaction"));
        bytes32 third = open(d, 3 * DEPOSIT);
        assertState(first, 0, DEPOSIT, 0);
        assertState(second, 0, 2 * DEPOSIT, 0);
        assertState(third, 0, 3 * DEPOSIT, 0);
    }

    function test_open_refuses_more_than_the_payer_has() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        uint96 tooMuch = uint96(token.balanceOf(payer)) + 1;
        cheats.prank(payer);
        (bool ok,) = address(RESERVE)
            .call(abi.encodeCall(ChannelReserve.open, (d.payee, d.operator, d.token, tooMuch, d.salt, address(0))));
        assertEq(ok, false);
        assertGone(idOf(d));
    }

    function test_open_and_topUp_refuse_a_payee_who_may_not_receive_the_token() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        forbidReceiving(PAYEE);
        expectRevert(ITip20.PolicyForbids.selector);
        cheats.prank(payer);
        RESERVE.topUp(d, 1);
        d.salt = keccak256("another salt");
        expectRevert(ITip20.PolicyForbids.selector);
        open(d, DEPOSIT);
        assertState(id, 0, DEPOSIT, 0);
    }

    /// The ids that the `mpp` and `mppx` libraries compute, for this chain and address.
    function testFuzz_ids_digests_and_domain_follow_their_formulas(
        ChannelReserve.ChannelDescriptor memory d,
        uint96 amount
    ) external view {
        bytes32 id = idOf(d);
        assertEq(
            id,
            keccak256(
                abi.encode(
                    d.payer,
                    d.payee,
                    d.operator,
                    d.token,
                    d.salt,
                    d.authorizedSigner,
                    d.expiringNonceHash,
                    0x4d50500000000000000000000000000000000000,
                    block.chainid
                )
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("TIP20 Channel Reserve"),
                keccak256("1"),
                block.chainid,
                0x4d50500000000000000000000000000000000000
            )
        );
        assertEq(RESERVE.domainSeparator(), domain);
        bytes32 typehash = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");
        assertEq(RESERVE.VOUCHER_TYPEHASH(), typehash);
        bytes32 digest =
            keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(typehash, id, uint256(amount)))));
        assertEq(RESERVE.getVoucherDigest(id, amount), digest);
    }

    function test_views_show_what_is_stored_and_zeros_for_the_rest() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        settle(d, 5);
        ChannelReserve.Channel memory channel = RESERVE.getChannel(d);
        assertEq(keccak256(abi.encode(channel.descriptor)), keccak256(abi.encode(d)));
        assertEq(channel.state.settled, 5);
        assertEq(channel.state.deposit, DEPOSIT);

        bytes32[] memory ids = new bytes32[](2);
        (ids[0], ids[1]) = (keccak256("no channel"), id);
        ChannelReserve.ChannelState[] memory states = RESERVE.getChannelStatesBatch(ids);
        assertEq(states.length, 2);
        assertEq(states[0].deposit, 0);
        assertEq(states[1].settled, 5);
        assertEq(states[1].deposit, DEPOSIT);
        assertEq(RESERVE.CLOSE_GRACE_PERIOD(), 900);
    }
}
