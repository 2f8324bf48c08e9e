// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Test} from "./Test.sol";

/// The part of Tempo's token standard that farebox's contracts and payments rely on.
interface ITip20 {
    event Transfer(address indexed from, address indexed to, uint256 amount);
    event TransferWithMemo(address indexed from, address indexed to, uint256 amount, bytes32 indexed memo);

    function balanceOf(address account) external view returns (uint256);
    function decimals() external pure returns (uint8);
    function transferWithMemo(address to, uint256 amount, bytes32 memo) external;
}

/// Proves that the tests of this folder run against the chain's own token precompile: a mock would also pass the
/// tests of a contract that misunderstands it.
contract Tip20Test is Test {
    ITip20 private constant TOKEN = ITip20(0x20C0000000000000000000000000000000000000);
    address private constant RECIPIENT = address(0xFA4EB0);

    function test_token_is_the_precompile_and_the_test_network_funds_the_test() external view {
        assertEq(TOKEN.decimals(), 6);
        assertEq(address(TOKEN).code, hex"ef");
        assertEq(TOKEN.balanceOf(address(this)), type(uint64).max);
    }

    function testFuzz_transferWithMemo_moves_the_exact_amount_and_emits_both_events(uint256 seed, bytes32 memo)
        external
    {
        uint256 held = TOKEN.balanceOf(address(this));
        uint256 amount = seed % (held + 1);
        uint256 before = TOKEN.balanceOf(RECIPIENT);

        vm.expectEmit(address(TOKEN));
        emit ITip20.Transfer(address(this), RECIPIENT, amount);
        vm.expectEmit(address(TOKEN));
        emit ITip20.TransferWithMemo(address(this), RECIPIENT, amount, memo);
        TOKEN.transferWithMemo(RECIPIENT, amount, memo);

        assertEq(TOKEN.balanceOf(address(this)), held - amount);
        assertEq(TOKEN.balanceOf(RECIPIENT), before + amount);
    }

    function testFuzz_transferWithMemo_above_the_balance_moves_nothing(uint256 excess, bytes32 memo) external {
        uint256 held = TOKEN.balanceOf(address(this));
        uint256 amount = held + 1 + excess % (type(uint256).max - held);

        (bool ok,) = address(TOKEN).call(abi.encodeCall(ITip20.transferWithMemo, (RECIPIENT, amount, memo)));

        assertEq(ok, false);
        assertEq(TOKEN.balanceOf(address(this)), held);
        assertEq(TOKEN.balanceOf(RECIPIENT), 0);
    }
}
