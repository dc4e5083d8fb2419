import type { DeviceName } from './device-name.js';
import { native } from './native.js';

/**
 * Takes a device for the tensors that this thread makes from now on. A process computes on one GPU: the first that was
 * asked for.
 * @param say receives why `auto` leaves a GPU alone
 * @returns the device that was taken
 * @throws Error where a GPU was asked for and there is none
 */
export function useDevice(device: DeviceName = 'auto', say?: (message: string) => void): 'cpu' | 'cuda' {
  if (device === 'cpu') {
    native.setDevice('cpu');
    return 'cpu';
  }
  if (device !== 'auto') {
    native.setDevice(device);
    return 'cuda';
  }
  if (native.cudaDevices().devices.length === 0) return useDevice('cpu');
  try {
    return useDevice('cuda');
  } catch (error) {
    say?.(`computing on the CPU: ${(error as Error).message}`);
    return useDevice('cpu');
  }
}
