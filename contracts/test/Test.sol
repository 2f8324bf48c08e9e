// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// The cheat codes in use here. Declared by hand so that no library has to be vendored or fetched.
interface Vm {
    function expectEmit(address emitter) external;
}

/// The base of every test contract.
abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error NotEqual(uint256 got, uint256 wanted);
    error BoolNotEqual(bool got, bool wanted);
    error BytesNotEqual(bytes got, bytes wanted);

    function assertEq(uint256 got, uint256 wanted) internal pure {
        if (got != wanted) revert NotEqual(got, wanted);
    }

    function assertEq(bool got, bool wanted) internal pure {
        if (got != wanted) revert BoolNotEqual(got, wanted);
    }

    function assertEq(bytes memory got, bytes memory wanted) internal pure {
        if (keccak256(got) != keccak256(wanted)) revert BytesNotEqual(got, wanted);
    }
}
