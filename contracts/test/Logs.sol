// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "./Test.sol";

struct Log {
    bytes32[] topics;
    bytes data;
    address emitter;
}

interface ILogCheats {
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory logs);
}

/// Compares everything that calls emit, by whichever contract, in its order: an event that comes twice, too much or too
/// late is a difference, which expecting one event does not see.
abstract contract Logs is Test {
    ILogCheats private constant recorder = ILogCheats(address(vm));

    Log[] private wanted;

    error LogCountNotEqual(uint256 got, uint256 wanted);
    error LogNotEqual(uint256 index, Log got, Log wanted);

    /// Starts to record.
    function startLogs() internal {
        recorder.recordLogs();
    }

    function wantLog(address emitter, bytes32[] memory topics, bytes memory data) internal {
        wanted.push(Log(topics, data, emitter));
    }

    /// A token's log of a payment.
    function wantTransfer(address token, address from, address to, uint256 amount) internal {
        bytes32[] memory topics = new bytes32[](3);
        topics[0] = keccak256("Transfer(address,address,uint256)");
        topics[1] = bytes32(uint256(uint160(from)));
        topics[2] = bytes32(uint256(uint160(to)));
        wantLog(token, topics, abi.encode(amount));
    }

    /// Checks that the logs since the last look are those that were wanted since, and no others.
    function assertLogs() internal {
        Log[] memory got = recorder.getRecordedLogs();
        if (got.length != wanted.length) revert LogCountNotEqual(got.length, wanted.length);
        for (uint256 i = 0; i < got.length; ++i) {
            if (keccak256(abi.encode(got[i])) != keccak256(abi.encode(wanted[i]))) {
                revert LogNotEqual(i, got[i], wanted[i]);
            }
        }
        delete wanted;
    }
}
