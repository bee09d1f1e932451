/**
 * TFRecord, TensorFlow's container of records:
 *
 *   length u64 | masked CRC-32C of length u32 | data | masked CRC-32C of data u32, little-endian
 *
 * https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
 */
import { crc32c } from "@node-rs/crc32";

/** Bytes around the data. */
export const frameBytes = 16;
const headBytes = 12;

function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

export function encodeRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(data.length + frameBytes);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(record.subarray(0, 8))), true);
  record.set(data, headBytes);
  view.setUint32(headBytes + data.length, masked(crc32c(data)), true);
  return record;
}

export type Decoded =
  | { readonly kind: "whole"; readonly data: Uint8Array }
  | { readonly kind: "damaged"; readonly reason: string };

/** @param record exactly one record, as long as its index says */
export function decodeRecord(record: Uint8Array): Decoded {
  if (record.length < frameBytes) return damaged(`it has ${record.length} bytes only`);
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  if (view.getUint32(8, true) !== masked(crc32c(record.subarray(0, 8))))
    return damaged("the checksum of its length differs");
  const length = view.getBigUint64(0, true);
  if (length !== BigInt(record.length - frameBytes))
    return damaged(`its length is ${length}, the index says ${record.length - frameBytes}`);
  const data = record.subarray(headBytes, record.length - 4);
  if (view.getUint32(record.length - 4, true) !== masked(crc32c(data)))
    return damaged("the checksum of its data differs");
  return { kind: "whole", data };
}

function damaged(reason: string): Decoded {
  return { kind: "damaged", reason };
}
