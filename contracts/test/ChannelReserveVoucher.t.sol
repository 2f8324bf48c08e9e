// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ChannelReserve} from "../dev/ChannelReserve.sol";
import {ChannelReserveBase} from "./ChannelReserveBase.t.sol";

/// Which signatures the reserve takes: those of TIP-1020, by the channel's signer, over the channel's voucher.
/// forge-config: default.hardfork = "tempo:T4"
contract ChannelReserveVoucherTest is ChannelReserveBase {
    uint256 private constant SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    function assertRefused(ChannelReserve.ChannelDescriptor memory d, uint96 amount, bytes memory signature) private {
        expectRevert(ChannelReserve.InvalidSignature.selector);
        cheats.prank(PAYEE);
        RESERVE.settle(d, amount, signature);
    }

    function assertTaken(ChannelReserve.ChannelDescriptor memory d, uint96 amount, bytes memory signature) private {
        cheats.prank(PAYEE);
        RESERVE.settle(d, amount, signature);
        assertEq(RESERVE.getChannelState(idOf(d)).settled, amount);
    }

    function test_the_recovery_number_may_count_from_0_or_from_27() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        assertTaken(d, 1, voucher(PAYER_KEY, id, 1));
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(PAYER_KEY, RESERVE.getVoucherDigest(id, 2));
        assertTaken(d, 2, abi.encodePacked(r, s, v - 27));
    }

    function test_the_authorized_signer_signs_instead_of_the_payer() external {
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.authorizedSigner = stranger;
        bytes32 id = open(d, DEPOSIT);
        assertRefused(d, 10, voucher(PAYER_KEY, id, 10));
        assertTaken(d, 10, voucher(STRANGER_KEY, id, 10));
    }

    function test_a_strangers_voucher_and_one_for_something_else_are_refused() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        assertRefused(d, 10, voucher(STRANGER_KEY, id, 10));
        assertRefused(d, 10, voucher(PAYER_KEY, id, 11));
        assertRefused(d, 10, voucher(PAYER_KEY, keccak256("another channel"), 10));
    }

    function test_a_signature_in_no_known_form_is_refused() external {
        (ChannelReserve.ChannelDescriptor memory d, bytes32 id) = opened();
        (uint8 v, bytes32 r, bytes32 s) = cheats.sign(PAYER_KEY, RESERVE.getVoucherDigest(id, 10));
        bytes memory good = abi.encodePacked(r, s, v);
        assertRefused(d, 10, "");
        assertRefused(d, 10, abi.encodePacked(good, uint8(0)));
        // The other s of the same signature, with the other recovery number.
        assertRefused(d, 10, abi.encodePacked(r, SECP256K1_ORDER - uint256(s), v == 27 ? 28 : 27));
        // EIP-2098: on the wire of the payment protocol, but not a form of TIP-1020.
        assertRefused(d, 10, abi.encodePacked(r, bytes32(uint256(s) | uint256(v - 27) << 255)));
        // A keychain's wrapping of the payer's own good signature.
        assertRefused(d, 10, abi.encodePacked(uint8(3), payer, good));
        assertRefused(d, 10, abi.encodePacked(uint8(4), payer, good));
        assertTaken(d, 10, good);
    }

    function test_p256_keys_sign_too() external {
        uint256 key = 0x256;
        (uint256 x, uint256 y) = cheats.publicKeyP256(key);
        ChannelReserve.ChannelDescriptor memory d = descriptor();
        d.authorizedSigner = address(uint160(uint256(keccak256(abi.encodePacked(x, y)))));
        bytes32 id = open(d, DEPOSIT);

        (bytes32 r, bytes32 s) = cheats.signP256(key, RESERVE.getVoucherDigest(id, 10));
        uint256 low = uint256(s) > P256_ORDER / 2 ? P256_ORDER - uint256(s) : uint256(s);
        assertRefused(d, 10, abi.encodePacked(uint8(1), r, P256_ORDER - low, x, y, uint8(0)));
        assertTaken(d, 10, abi.encodePacked(uint8(1), r, low, x, y, uint8(0)));
    }
}
