// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {IToken} from "./Chain.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// A payer, a payee, an operator and a stranger who do anything at any time with good and bad vouchers, and know of
/// each call whether it must succeed. Amounts are small, so that limits are met often.
contract ChannelReserveActors is ChannelReserveBase {
    struct Known {
        ChannelReserve.ChannelDescriptor descriptor;
        bytes32 id;
        bool isOpen;
        uint96 settled;
        uint96 deposit;
        uint256 closeRequestedAt;
        /// Amount that the payee got in all, also after the end.
        uint96 captured;
        /// The largest amount that the signer put its name to.
        uint96 signed;
    }

    Known[] private channels;
    uint256 private transactions;

    function money() external view returns (IToken) {
        return token;
    }

    function count() external view returns (uint256) {
        return channels.length;
    }

    function known(uint256 index) external view returns (Known memory) {
        return channels[index];
    }

    function openChannel(uint96 deposit, bool signerIsPayer) external {
        inTransaction(keccak256(abi.encode(++transactions)));
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.expiringNonceHash = keccak256(abi.encode(transactions));
        if (!signerIsPayer) d.authorizedSigner = stranger;
        deposit %= 20;
        bytes memory data =
            abi.encodeCall(ChannelReserve.open, (d.payee, d.operator, d.token, deposit, d.salt, d.authorizedSigner));
        assertEq(called(payer, data), deposit != 0);
        if (deposit == 0) return;
        Known storage channel = channels.push();
        (channel.descriptor, channel.id, channel.isOpen, channel.deposit) = (d, idOf(d), true, deposit);
    }

    function settleChannel(uint256 which, uint256 who, uint256 how, uint96 amount) external {
        if (channels.length == 0) return;
        Known storage channel = channels[which % channels.length];
        amount %= 25;
        (bytes memory signature, bool good) = signedSomehow(channel, how, amount);
        bool mayPay = channel.isOpen && who % 4 < 2 && good && amount > channel.settled && amount <= channel.deposit;
        bytes memory data = abi.encodeCall(ChannelReserve.settle, (channel.descriptor, amount, signature));
        assertEq(called(account(who), data), mayPay);
        if (mayPay) (channel.settled, channel.captured) = (amount, amount);
    }

    function close(uint256 which, uint256 who, uint256 how, uint96 cumulative, uint96 capture) external {
        if (channels.length == 0) return;
        Known storage channel = channels[which % channels.length];
        cumulative %= 25;
        capture = how % 2 == 0 ? channel.settled : capture % 25;
        (bytes memory signature, bool good) = signedSomehow(channel, how / 2, cumulative);
        bool mayClose = channel.isOpen && who % 4 < 2 && capture >= channel.settled && capture <= cumulative
            && capture <= channel.deposit && (good || capture == channel.settled);
        bytes memory data = abi.encodeCall(ChannelReserve.close, (channel.descriptor, cumulative, capture, signature));
        assertEq(called(account(who), data), mayClose);
        if (mayClose) (channel.isOpen, channel.captured) = (false, capture);
    }

    function topUp(uint256 which, uint256 who, uint96 amount) external {
        if (channels.length == 0) return;
        Known storage channel = channels[which % channels.length];
        amount = amount % 4 == 0 ? type(uint96).max - uint96(amount % 20) : amount % 5;
        bool fits = amount < 5;
        bool mayAdd = channel.isOpen && who % 4 == 2 && fits;
        assertEq(called(account(who), abi.encodeCall(ChannelReserve.topUp, (channel.descriptor, amount))), mayAdd);
        if (mayAdd) (channel.deposit, channel.closeRequestedAt) = (channel.deposit + amount, 0);
    }

    function askToClose(uint256 which, uint256 who) external {
        if (channels.length == 0) return;
        Known storage channel = channels[which % channels.length];
        bool mayAsk = channel.isOpen && who % 4 == 2;
        assertEq(called(account(who), abi.encodeCall(ChannelReserve.requestClose, (channel.descriptor))), mayAsk);
        if (mayAsk && channel.closeRequestedAt == 0) channel.closeRequestedAt = block.timestamp;
    }

    function withdraw(uint256 which, uint256 who) external {
        if (channels.length == 0) return;
        Known storage channel = channels[which % channels.length];
        bool isTime = channel.closeRequestedAt != 0 && block.timestamp >= channel.closeRequestedAt + 900;
        bool mayTake = channel.isOpen && who % 4 == 2 && isTime;
        assertEq(called(account(who), abi.encodeCall(ChannelReserve.withdraw, (channel.descriptor))), mayTake);
        if (mayTake) channel.isOpen = false;
    }

    /// Time often passes by what makes the difference.
    function wait(uint256 time) external {
        cheats.warp(block.timestamp + (time % 3 == 0 ? 899 : time % 3 == 1 ? 1 : time % 1000));
    }

    function account(uint256 who) private view returns (address) {
        return [PAYEE, OPERATOR, payer, stranger][who % 4];
    }

    /// A voucher of the signer in half of the cases; else nothing, another's, or one for more or another channel.
    function signedSomehow(Known storage channel, uint256 how, uint96 amount)
        private
        returns (bytes memory signature, bool good)
    {
        bool signerIsPayer = channel.descriptor.authorizedSigner == address(0);
        uint256 signer = signerIsPayer ? PAYER_KEY : STRANGER_KEY;
        how %= 8;
        if (how < 4) {
            if (amount > channel.signed) channel.signed = amount;
            return (voucher(signer, channel.id, amount), true);
        }
        if (how == 4) return ("", false);
        if (how == 5) return (voucher(signerIsPayer ? STRANGER_KEY : PAYER_KEY, channel.id, amount), false);
        if (how == 6) return (voucher(signer, channel.id, amount + 1), false);
        return (voucher(signer, keccak256("another channel"), amount), false);
    }

    function called(address caller, bytes memory data) private returns (bool ok) {
        cheats.prank(caller);
        (ok,) = address(RESERVE).call(data);
    }
}

/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveInvariantTest is ChannelReserveBase {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    ChannelReserveActors private actors;

    /// The actors make the reserve and its token themselves.
    function setUp() public override {
        actors = new ChannelReserveActors();
        actors.setUp();
        token = actors.money();
        payer = cheats.addr(PAYER_KEY);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(actors), new bytes4[](7));
        bytes4[7] memory selectors = [
            ChannelReserveActors.openChannel.selector,
            ChannelReserveActors.settleChannel.selector,
            ChannelReserveActors.close.selector,
            ChannelReserveActors.topUp.selector,
            ChannelReserveActors.askToClose.selector,
            ChannelReserveActors.withdraw.selector,
            ChannelReserveActors.wait.selector
        ];
        for (uint256 i = 0; i < selectors.length; ++i) {
            targets[0].selectors[i] = selectors[i];
        }
    }

    function invariant_every_channel_is_as_its_history_says() external view {
        for (uint256 i = 0; i < actors.count(); ++i) {
            ChannelReserveActors.Known memory channel = actors.known(i);
            if (channel.isOpen) {
                assertState(channel.id, channel.settled, channel.deposit, channel.closeRequestedAt);
            } else {
                assertGone(channel.id);
            }
        }
    }

    function invariant_nothing_is_captured_without_a_voucher() external view {
        for (uint256 i = 0; i < actors.count(); ++i) {
            ChannelReserveActors.Known memory channel = actors.known(i);
            assertEq(channel.captured <= channel.signed, true);
            assertEq(channel.captured <= channel.deposit, true);
        }
    }

    /// The payee has what was captured, the reserve what is locked, and the payer all the rest.
    function invariant_no_unit_is_made_or_lost() external view {
        uint256 captured = 0;
        uint256 locked = 0;
        for (uint256 i = 0; i < actors.count(); ++i) {
            ChannelReserveActors.Known memory channel = actors.known(i);
            captured += channel.captured;
            if (channel.isOpen) locked += channel.deposit - channel.settled;
        }
        assertEq(token.balanceOf(PAYEE), captured);
        assertEq(token.balanceOf(address(RESERVE)), locked);
        assertEq(token.balanceOf(payer), type(uint64).max - captured - locked);
    }
}
